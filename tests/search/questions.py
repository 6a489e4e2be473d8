"""What may be asked of columns with exact indexes, in every place of a statement in which a condition stands.

Each takes a model, sealed or its plain twin, and gives a statement whose rows are the same for both.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import (
    and_,
    between,
    bindparam,
    case,
    exists,
    func,
    join,
    lambda_stmt,
    not_,
    or_,
    select,
    union,
    union_all,
)
from sqlalchemy.orm import aliased, with_loader_criteria

Question = Callable[[Any], Any]

SPRING = date(1980, 4, 1)
ROWS: list[dict[str, Any]] = [
    {"mail": "ann@x", "other": "bob@x", "name": "annabel", "born": date(1980, 5, 4), "age": 30},
    {"mail": "bob@x", "other": "bob@x", "name": "bo", "born": date(1990, 1, 1), "age": 20},
    {"mail": "cid@y", "other": None, "name": "anna", "born": None, "age": 40},
    {"mail": "ann@x", "other": "eve@y", "name": "jo hanna", "born": SPRING, "age": None},
    {"mail": None, "other": "ann@x", "name": None, "born": date(2000, 2, 29), "age": 10},
    {"mail": "", "other": "", "name": "", "born": date(1900, 1, 1), "age": 0},
]


def _in_a_cte(model: Any) -> Any:
    cte = select(model.id, model.age).where(func.lower(model.mail) == "ann@x").cte()
    return select(model.id).join(cte, cte.c.id == model.id)


def _recursive(model: Any) -> Any:
    cte = select(model.id).where(func.lower(model.mail) == "ann@x", model.age >= 20).cte(recursive=True)
    return select(cte.union_all(select(model.id).join(cte, model.id == cte.c.id + 3)).c.id)


def _aliased_subquery(model: Any) -> Any:
    youngest = aliased(model, select(model).order_by(model.age).where(model.age > 5).limit(2).subquery())
    return select(youngest.id, youngest.mail)


def _lateral(model: Any) -> Any:
    other = aliased(model)
    counted = select(func.count(other.id).label("n")).where(func.lower(other.mail) == "ann@x").subquery()
    return select(model.id, counted.c.n).join(counted, model.id > counted.c.n)


def _correlated(model: Any) -> Any:
    other = aliased(model)
    return select(model.id).where(exists().where(other.id == model.id, other.name.startswith("an")))


def _self_join(model: Any) -> Any:
    other = aliased(model)
    return select(model.id, other.id).join(other, model.mail == other.other)


def _least_of_each(model: Any) -> Any:
    other = aliased(model)
    least = select(func.min(other.age)).where(other.mail == model.mail, other.id >= model.id)
    return select(model.id, least.scalar_subquery())


def _least_told(model: Any) -> Any:
    other = aliased(model)
    least = select(func.max(other.age)).where(other.id < model.id).correlate(model)
    return select(model.id, least.scalar_subquery())


def _outer_join(model: Any) -> Any:
    other = aliased(model)
    on = and_(other.id == model.id, func.lower(other.mail) == "ann@x")
    return select(model.id, other.id).outerjoin(other, on)


def _joined_from(model: Any) -> Any:
    other = aliased(model)
    return select(model.id).select_from(join(model, other, and_(model.id == other.id, other.mail == "ann@x")))


QUESTIONS: dict[str, Question] = {
    "==": lambda m: select(m.id).where(m.mail == "ann@x"),
    "!=": lambda m: select(m.id).where(m.mail != "ann@x"),
    "in_": lambda m: select(m.id).where(m.mail.in_(["ann@x", "", "none"])),
    "in_ nothing": lambda m: select(m.id).where(m.mail.in_([])),
    "not_in": lambda m: select(m.id).where(m.mail.not_in(["ann@x", "none"])),
    "is distinct": lambda m: select(m.id).where(m.mail.is_distinct_from("ann@x")),
    "is not distinct": lambda m: select(m.id).where(m.mail.is_not_distinct_from("ann@x")),
    "is None": lambda m: select(m.id).where(m.mail.is_(None)),
    "two columns": lambda m: select(m.id).where(m.mail == m.other),
    "under NOT and OR": lambda m: select(m.id).where(not_(or_(m.mail == "ann@x", m.age < 15))),
    "lower": lambda m: select(m.id).where(func.lower(m.mail) == "ann@x"),
    "lower in_": lambda m: select(m.id).where(func.lower(m.mail).in_(["ann@x", "bob@x"])),
    "startswith": lambda m: select(m.id).where(m.name.startswith("anna")),
    "not startswith": lambda m: select(m.id).where(~m.name.startswith("anna")),
    "endswith": lambda m: select(m.id).where(m.name.endswith("na")),
    "like": lambda m: select(m.id).where(m.name.like("an%")),
    "between": lambda m: select(m.id).where(m.born.between(SPRING, date(1990, 1, 1))),
    "not between": lambda m: select(m.id).where(not_(between(m.born, SPRING, date(1990, 1, 1)))),
    "<": lambda m: select(m.id).where(m.born < SPRING),
    "<= and >": lambda m: select(m.id).where(m.born <= date(1990, 1, 1), m.age > 20),
    ">=": lambda m: select(m.id).where(m.age >= 20),
    "named": lambda m: select(m.id).where(
        m.mail == bindparam("mail", "ann@x"), m.age == bindparam("age", 30)
    ),
    "a lambda": lambda m: lambda_stmt(lambda: select(m.id).where(m.mail == "ann@x")),
    "an alias": lambda m: (lambda a: select(a.id).where(func.lower(a.mail) == "ann@x"))(aliased(m)),
    "in a subquery": lambda m: select(m.id).where(
        m.id.in_(select(m.id).where(func.lower(m.mail) == "ann@x"))
    ),
    "of a subquery": lambda m: select(select(m.id).where(m.born > SPRING).subquery().c.id),
    "in a CTE": _in_a_cte,
    "in a recursive CTE": _recursive,
    "in a UNION": lambda m: union(
        select(m.id).where(func.lower(m.mail) == "ann@x"), select(m.id).where(m.name.startswith("bo"))
    ),
    "of a UNION ALL": lambda m: select(
        union_all(select(m.id).where(m.mail == "ann@x"), select(m.id).where(m.age < 25)).subquery().c.id
    ),
    "exists": _correlated,
    "joined": _self_join,
    "outer joined": _outer_join,
    "joined in FROM": _joined_from,
    "beside a scalar": _lateral,
    "counted": lambda m: select(func.count()).select_from(m).where(m.mail == "ann@x"),
    "counted with CASE": lambda m: select(func.count(case((m.mail == "ann@x", 1)))),
    "loader criteria": lambda m: select(m.id).options(with_loader_criteria(m, m.mail == "ann@x")),
    "loader criteria in a lambda": lambda m: select(m.id).options(
        with_loader_criteria(m, lambda one: one.mail == "ann@x")
    ),
    "least": lambda m: select(func.min(m.age)).where(m.mail == "ann@x"),
    "least of each": _least_of_each,
    "least of each, told": _least_told,
    "least in IN": lambda m: select(m.id).where(m.id.in_(select(func.min(m.id)).where(m.mail == "ann@x"))),
    "greatest of none": lambda m: select(func.max(m.age)).where(m.mail == "none"),
    "first in a subquery": _aliased_subquery,
    "first in IN": lambda m: select(m.id).where(
        m.id.in_(select(select(m.id).where(m.age > 5).order_by(m.age.desc()).limit(2).subquery().c.id))
    ),
}

# The order counts.
ORDERED: dict[str, Question] = {
    "order_by": lambda m: select(m.id, m.age).where(m.age.is_not(None)).order_by(m.age),
    "order_by desc": lambda m: select(m.id).where(m.age.is_not(None)).order_by(m.age.desc()).limit(2),
    "order_by in pages": lambda m: select(m.id).where(m.age > 5).order_by(m.age).limit(2).offset(1),
    "row_number": lambda m: (
        select(m.id, func.row_number().over(order_by=m.age.asc())).where(m.age.is_not(None)).order_by(m.id)
    ),
}
