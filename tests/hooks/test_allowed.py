"""What may be done with sealed columns in SQL, on each database, and what it gives."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    LargeBinary,
    all_,
    any_,
    bindparam,
    case,
    cast,
    distinct,
    exists,
    func,
    intersect,
    literal,
    null,
    or_,
    over,
    select,
    text,
    true,
    tuple_,
    type_coerce,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array
from sqlalchemy.orm import aliased
from sqlalchemy.types import NullType

from sqlalchemy_cmk import tenant_scope
from tests.hooks.places import distinct_on, people
from tests.support.vault import Vault

__all__ = ["people"]

Make = Callable[[Any, Any], Any]


# A statement over the people and accounts of acme, and what its rows are.
ALLOWED: dict[str, tuple[Make, list[tuple[Any, ...]]]] = {
    "a label": (lambda p, a: select(p.secret.label("x")), [("secret of ann",), ("secret of bob",)]),
    "a subquery": (
        lambda p, a: select(select(p.secret, p.clinic).subquery().c.secret),
        [("secret of ann",), ("secret of bob",)],
    ),
    "a CTE": (lambda p, a: select(select(p.secret).cte().c.secret), [("secret of ann",), ("secret of bob",)]),
    "an alias": (lambda p, a: select(aliased(p).email), [("ann@x",), ("bob@x",)]),
    "a scalar subquery": (
        lambda p, a: select(a.id, select(p.secret).where(p.id == 1).scalar_subquery()),
        [(0, "secret of bob")],
    ),
    "EXISTS": (
        lambda p, a: select(p.id).where(exists(select(a.email).where(a.email == p.email))),
        [(1,)],
    ),
    "NULL tests": (
        lambda p, a: select(p.id).where(
            p.other.is_(None),
            p.secret.is_not(None),
            p.other == None,  # noqa: E711
            p.secret != null(),
        ),
        [(0,), (1,)],
    ),
    "a test of a row-bound column for NULL": (
        lambda p, a: select(p.id).where(p.bound.is_not(None)),
        [(0,), (1,)],
    ),
    "==": (lambda p, a: select(p.id).where(p.email == "bob@x"), [(1,)]),
    "!=": (lambda p, a: select(p.id).where(p.email != "bob@x"), [(0,)]),
    "not": (lambda p, a: select(p.id).where(~(p.email == "bob@x")), [(0,)]),
    "in_": (lambda p, a: select(p.id).where(p.email.in_(["bob@x", "cid@x"])), [(1,)]),
    "in_ nothing": (lambda p, a: select(p.id).where(p.email.in_([])), []),
    "not_in": (lambda p, a: select(p.id).where(p.email.not_in(["bob@x"])), [(0,)]),
    "in_ columns and values": (
        lambda p, a: select(p.id).where(p.email.in_([p.second, "cid@x", null()])),
        [(1,)],
    ),
    "in_ a SELECT": (lambda p, a: select(p.id).where(p.email.in_(select(a.email))), [(1,)]),
    "a scalar subquery on the right": (
        lambda p, a: select(p.id).where(p.email == select(a.email).where(a.id == 0).scalar_subquery()),
        [(1,)],
    ),
    "is_distinct_from": (lambda p, a: select(p.id).where(p.email.is_distinct_from("bob@x")), [(0,)]),
    "a typed parameter": (
        lambda p, a: select(p.id).where(p.email == bindparam(None, "bob@x", type_=p.email.type)),
        [(1,)],
    ),
    "a typed literal on the left": (
        lambda p, a: select(p.id).where(literal("bob@x", p.email.type) == p.email),
        [(1,)],
    ),
    "a coerced literal": (
        lambda p, a: select(p.id).where(type_coerce("bob@x", p.email.type) == p.email),
        [(1,)],
    ),
    "columns of one context": (lambda p, a: select(p.id).where(p.email == p.second), [(1,)]),
    "a join": (
        lambda p, a: select(p.id, p.secret).join(a, a.email == p.email),
        [(1, "secret of bob")],
    ),
    "an outer join": (
        lambda p, a: select(p.id, a.email).outerjoin(a, a.email == p.email),
        [(0, None), (1, "bob@x")],
    ),
    "rows of values": (
        lambda p, a: select(p.id).where(tuple_(p.id, p.email).in_([(1, "bob@x"), (0, "bob@x")])),
        [(1,)],
    ),
    "distinct": (lambda p, a: select(p.city).distinct(), [("Bern",)]),
    "distinct whole rows": (
        lambda p, a: select(p.id, p.secret).distinct(),
        [(0, "secret of ann"), (1, "secret of bob")],
    ),
    "GROUP BY": (lambda p, a: select(p.city, func.count()).group_by(p.city), [("Bern", 2)]),
    "GROUP BY a name": (lambda p, a: select(p.city, func.count()).group_by("city"), [("Bern", 2)]),
    "GROUP BY a label": (
        lambda p, a: select(p.city.label("town"), func.count()).group_by("town"),
        [("Bern", 2)],
    ),
    "PARTITION BY": (
        lambda p, a: select(p.id, over(func.count(), partition_by=p.city)),
        [(0, 2), (1, 2)],
    ),
    "count": (lambda p, a: select(func.count(p.secret), func.count(p.other)), [(2, 0)]),
    "count of distinct": (
        lambda p, a: select(func.count(distinct(p.city)), func.count(p.city.distinct())),
        [(1, 1)],
    ),
    "coalesce": (lambda p, a: select(func.coalesce(a.note, a.memo)), [("memo",)]),
    "coalesce in a comparison": (
        lambda p, a: select(p.id).where(func.coalesce(p.email, p.second) == "bob@x"),
        [(1,)],
    ),
    "nullif": (
        lambda p, a: select(func.nullif(p.email, p.second, type_=p.email.type)),
        [("ann@x",), (None,)],
    ),
    "a CASE": (
        lambda p, a: select(case((a.note.is_(None), a.memo), else_=a.note)),
        [("memo",)],
    ),
    "a CASE with NULL": (
        lambda p, a: select(case((p.id > 0, null()), else_=p.secret)),
        [("secret of ann",), (None,)],
    ),
    "a CASE of values": (
        lambda p, a: select(p.id, case((p.second, 1), value=p.email, else_=2)),
        [(0, 2), (1, 1)],
    ),
    "UNION ALL": (
        lambda p, a: union_all(select(a.note), select(a.memo)),
        [("memo",), (None,)],
    ),
    "UNION of a deterministic column": (lambda p, a: union(select(p.city), select(p.city)), [("Bern",)]),
    "INTERSECT across tables": (lambda p, a: intersect(select(p.email), select(a.email)), [("bob@x",)]),
    "a union in a subquery": (
        lambda p, a: select(union_all(select(p.email), select(a.email)).subquery().c.email),
        [("ann@x",), ("bob@x",), ("bob@x",)],
    ),
    "a union of whole rows": (
        lambda p, a: union(select(p.id, p.secret), select(p.id, p.secret)),
        [(0, "secret of ann"), (1, "secret of bob")],
    ),
    "a union with row-bound values": (
        lambda p, a: union_all(
            select(p.id, p.bound).where(p.id == 0), select(p.id, p.bound).where(p.id == 1)
        ),
        [(0, "bound to ann"), (1, "bound to bob")],
    ),
    "a union with NULL": (
        lambda p, a: union_all(select(type_coerce(null(), a.memo.type)), select(a.memo)),
        [("memo",), (None,)],
    ),
    "the stored bytes": (
        lambda p, a: select(func.count()).where(
            type_coerce(p.secret, LargeBinary).is_not(None), type_coerce(p.secret, NullType()).is_not(None)
        ),
        [(2,)],
    ),
    "a row-bound column with its row": (
        lambda p, a: select(p.id, p.bound),
        [(0, "bound to ann"), (1, "bound to bob")],
    ),
    "the platform's column": (lambda p, a: select(p.id).where(p.login == "bob@x"), [(1,)]),
    "an expression beside": (
        lambda p, a: select(p.secret, func.upper(p.name)),
        [
            ("secret of ann", "ANN"),
            ("secret of bob", "BOB"),
        ],
    ),
    "ORDER BY another column's name": (
        lambda p, a: select(p.id, p.secret).order_by("id"),
        [(0, "secret of ann"), (1, "secret of bob")],
    ),
    "ORDER BY whether there is a value": (
        lambda p, a: select(p.id).order_by(case((p.other.is_(None), 1), else_=0), p.id),
        [(0,), (1,)],
    ),
    "OR": (lambda p, a: select(p.id).where(or_(p.email == "ann@x", p.name == "bob")), [(0,), (1,)]),
    "text beside": (
        lambda p, a: select(p.id, p.secret).where(text("people.id = 1")),
        [(1, "secret of bob")],
    ),
    "typed text": (
        lambda p, a: text("SELECT secret FROM people WHERE clinic = 'acme'").columns(p.secret),
        [("secret of ann",), ("secret of bob",)],
    ),
    "text with a typed parameter": (
        lambda p, a: select(p.id).where(
            text("email = :e").bindparams(bindparam("e", "bob@x", type_=p.email.type))
        ),
        [(1,)],
    ),
}

# What only some databases know.
SPECIAL: dict[str, tuple[str, Make, list[tuple[Any, ...]]]] = {
    "array_agg": (
        "postgresql",
        lambda p, a: select(func.array_agg(aggregate_order_by(p.secret, p.id))),
        [(["secret of ann", "secret of bob"],)],
    ),
    "array_agg of distinct": (
        "postgresql",
        lambda p, a: select(func.array_agg(p.city.distinct())),
        [(["Bern"],)],
    ),
    "array_agg with a filter": (
        "postgresql",
        lambda p, a: select(func.array_agg(p.secret).filter(p.id == 1)),
        [(["secret of bob"],)],
    ),
    "ARRAY": (
        "postgresql",
        lambda p, a: select(array([p.email, p.second])),
        [(["ann@x", "bob@x"],), (["bob@x", "bob@x"],)],
    ),
    "ANY of a SELECT": (
        "postgresql mysql",
        lambda p, a: select(p.id).where(p.email == any_(select(a.email).scalar_subquery())),
        [(1,)],
    ),
    "ALL of a SELECT": (
        "postgresql mysql",
        lambda p, a: select(p.id).where(
            p.email != all_(select(a.email).where(a.clinic == "acme").scalar_subquery())
        ),
        [(0,)],
    ),
    "ANY of an array": (
        "postgresql",
        lambda p, a: select(p.id).where(p.email == any_(array([p.second, p.second]))),
        [(1,)],
    ),
    "DISTINCT ON": ("postgresql", lambda p, a: distinct_on(select(p.city), p.city), [("Bern",)]),
    "DISTINCT ON beside": (
        "postgresql",
        lambda p, a: distinct_on(select(p.secret).where(p.id == 1), p.city),
        [("secret of bob",)],
    ),
    "LATERAL": (
        "postgresql",
        lambda p, a: _lateral(p, a),
        [("bob@x",)],
    ),
    "a cast to bytes": (
        "postgresql sqlite",
        lambda p, a: select(func.count()).where(cast(p.secret, LargeBinary).is_not(None)),
        [(2,)],
    ),
    "ifnull": (
        "sqlite mysql",
        lambda p, a: select(func.ifnull(a.note, a.memo, type_=a.memo.type)),
        [("memo",)],
    ),
    "ifnull with type_coerce": (
        "sqlite mysql",
        lambda p, a: select(type_coerce(func.ifnull(a.note, a.memo), a.memo.type)),
        [("memo",)],
    ),
}


def _lateral(p: Any, a: Any) -> Any:
    mine = select(a.email).where(a.email == p.email, a.clinic == p.clinic).lateral()
    return select(mine.c.email).select_from(p).join(mine, true())


@pytest.mark.parametrize("what", ALLOWED)
def test_what_sealed_columns_answer(vault: Vault, people: Any, what: str) -> None:
    make, rows = ALLOWED[what]
    assert run(vault, people, make) == rows


@pytest.mark.parametrize("what", SPECIAL)
def test_what_sealed_columns_answer_on_some_databases(vault: Vault, people: Any, what: str) -> None:
    databases, make, rows = SPECIAL[what]
    dialect = vault.engine.dialect.name.replace("mariadb", "mysql")
    if dialect in databases:
        assert run(vault, people, make) == rows


def run(vault: Vault, model: Any, make: Make) -> list[tuple[Any, ...]]:
    """Return the rows that a statement gives, in a fixed order, twice: compiled again and from the cache."""
    found = []
    for _ in range(2):
        with vault.session() as session, tenant_scope("acme"):
            rows = session.execute(make(model, model.account))
            found.append(sorted((tuple(row) for row in rows), key=str))
    assert found[0] == found[1]
    return found[0]
