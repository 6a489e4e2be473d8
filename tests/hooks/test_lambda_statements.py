"""Lambda statements: what they write is sealed or refused, and what they ask is answered."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Integer,
    String,
    and_,
    bindparam,
    delete,
    func,
    insert,
    lambda_stmt,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.hooks.unsupported.writing import check_write
from sqlalchemy_cmk.search import Compound, Exact, Ordered, fold
from tests.support.vault import Vault


@pytest.fixture
def clinic(make_vault: Any) -> tuple[Vault, Any]:
    vault: Vault = make_vault()

    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        __cmk_indexes__ = (Compound("last", "first"),)
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        last: Mapped[str] = mapped_column(EncryptedType(String(40), index=[Exact(normalize=fold)]))
        first: Mapped[str] = mapped_column(EncryptedType(String(40)))
        age: Mapped[int | None] = mapped_column(EncryptedType(Integer, index=[Ordered(0, 200)]))

    Patient.other = aliased(Patient)
    vault.create()
    with vault.session() as session, session.begin():
        rows = ((1, "Ann", "x", 50), (2, "Bob", "y", 40), (3, "Ann", "y", 30))
        session.add_all(
            Patient(id=id_, clinic="acme", last=last, first=first, age=age) for id_, last, first, age in rows
        )
    return vault, Patient


def unsealed(vault: Vault) -> list[Any]:
    """What stands in sealed columns and does not begin as sealed values do."""
    held = vault.raw("SELECT last FROM patients") + vault.raw("SELECT first FROM patients")
    return [one for (one,) in held if not isinstance(one, bytes) or one[:1] != b"\x01"]


@pytest.mark.parametrize("of_table", [False, True], ids=["model", "table"])
def test_what_a_variable_would_write_unsealed_is_refused(clinic: tuple[Vault, Any], of_table: bool) -> None:
    vault, Patient = clinic
    target: Any = Patient.__table__ if of_table else Patient
    first = "PLAIN"
    writes = (
        lambda_stmt(lambda: insert(target).values(clinic="acme", last="a", first=first)),
        lambda_stmt(lambda: insert(target)) + (lambda s: s.values(clinic="acme", last=first, first="b")),
        lambda_stmt(
            lambda: (
                update(target).where(Patient.id == 1, Patient.clinic == "acme").values(last="a", first=first)
            )
        ),
    )
    for number, statement in enumerate(writes):
        with vault.session() as session:
            with pytest.raises(UnsupportedOperation, match="written unsealed") as caught:
                session.execute(statement)
            session.commit()
        assert "PLAIN" not in str(caught.value), number
    assert not unsealed(vault)


def test_a_value_of_another_type_that_passed_no_hook_is_refused_when_it_is_compiled(
    clinic: tuple[Vault, Any],
) -> None:
    table = clinic[1].__table__
    for statement in (insert(table), update(table)):
        with pytest.raises(UnsupportedOperation, match="has not passed the hooks"):
            check_write(statement.values(first=literal("PLAIN")), nested=False)
        check_write(statement.values(first=bindparam("first")), nested=False)


@pytest.mark.parametrize("of_table", [False, True], ids=["model", "table"])
def test_what_an_execution_gives_is_sealed(clinic: tuple[Vault, Any], of_table: bool) -> None:
    vault, Patient = clinic
    target: Any = Patient.__table__ if of_table else Patient
    rows = [{"id": 7 + n, "clinic": "acme", "last": "new", "first": f"{n}"} for n in range(2)]
    with vault.session() as session, session.begin():
        session.execute(lambda_stmt(lambda: insert(target)), rows)
        changed = lambda_stmt(lambda: update(target).where(Patient.id == 7, Patient.clinic == "acme"))
        session.connection().execute(changed, {"last": "newer", "first": "z"})
    assert not unsealed(vault)
    with vault.session() as session:
        found = select(Patient.clinic, Patient.last).where(Patient.id >= 7).order_by(Patient.id)
        assert [last for _, last in session.execute(found)] == ["newer", "new"]


Asked = Callable[[Any, str, str], Any]

ASKED: dict[str, tuple[Asked, list[int], list[int]]] = {
    "several columns": (
        lambda P, a, b: lambda_stmt(
            lambda: select(P.id).where(P.clinic == "acme", P.last == a, P.first == b)
        ),
        [1],
        [2],
    ),
    "several columns, one of several values": (
        lambda P, a, b: _in(P, [a, "none"], b),
        [1],
        [2],
    ),
    "conditions added": (lambda P, a, b: _added(P, a, b), [1], [2]),
    "a table": (lambda P, a, b: _core(P.__table__.c, a, b), [1], [2]),
    "a condition": (
        lambda P, a, b: select(P.id).where(P.clinic == "acme", lambda: and_(P.last == a, P.first == b)),
        [1],
        [2],
    ),
    "a join's condition": (lambda P, a, b: _joined(P, a, b), [1], [2]),
    "a subquery": (
        lambda P, a, b: lambda_stmt(
            lambda: select(P.id).where(P.id.in_(select(P.id).where(P.last == a, P.first == b)))
        ),
        [1],
        [2],
    ),
    "lower": (
        lambda P, a, b: lambda_stmt(
            lambda: select(P.id).where(P.clinic == "acme", func.lower(P.last) == a).order_by(P.id)
        ),
        [1, 3],
        [2],
    ),
    "lower in a condition": (
        lambda P, a, b: (
            select(P.id).where(P.clinic == "acme", lambda: func.lower(P.last) == a).order_by(P.id)
        ),
        [1, 3],
        [2],
    ),
    "order_by": (
        lambda P, a, b: lambda_stmt(
            lambda: select(P.id).where(P.clinic == "acme", P.first == b, P.last == a).order_by(P.age)
        ),
        [1],
        [2],
    ),
    "least": (
        lambda P, a, b: lambda_stmt(
            lambda: select(func.min(P.age)).where(P.clinic == "acme", P.last.iequals(a))
        ),
        [30],
        [40],
    ),
}


def _in(P: Any, lasts: list[str], b: str) -> Any:
    return lambda_stmt(lambda: select(P.id).where(P.clinic == "acme", P.last.in_(lasts), P.first == b))


def _added(P: Any, a: str, b: str) -> Any:
    statement = lambda_stmt(lambda: select(P.id).where(P.clinic == "acme"))
    statement += lambda s: s.where(P.last == a)
    statement += lambda s: s.where(P.first == b)
    return statement


def _core(c: Any, a: str, b: str) -> Any:
    return lambda_stmt(lambda: select(c.id).where(c.clinic == "acme", c.last == a, c.first == b))


def _joined(P: Any, a: str, b: str) -> Any:
    other = P.other
    on = lambda: and_(P.id == other.id, other.last == a, other.first == b)  # noqa: E731
    return select(P.id).join(other, on).where(P.clinic == "acme")


@pytest.mark.parametrize("name", ASKED)
def test_a_question_is_answered_with_the_values_that_its_variables_have_now(
    clinic: tuple[Vault, Any], name: str
) -> None:
    vault, Patient = clinic
    ask, ann, bob = ASKED[name]
    lower = name in ("lower", "lower in a condition")
    with vault.session() as session, tenant_scope("acme"):
        for last, first, right in (("Ann", "x", ann), ("Bob", "y", bob), ("Ann", "x", ann)):
            asked = ask(Patient, last.lower() if lower else last, first)
            assert list(session.scalars(asked)) == right


def test_rows_are_ordered_counted_changed_and_deleted(clinic: tuple[Vault, Any]) -> None:
    vault, Patient = clinic
    P, last, first = Patient, "Ann", "y"
    with vault.session() as session, tenant_scope("acme"):
        assert list(session.scalars(lambda_stmt(lambda: select(P.id).order_by(P.age)))) == [3, 2, 1]
        named = lambda_stmt(
            lambda: (
                select(func.count())
                .select_from(P)
                .where(P.last == bindparam("last"), P.first == bindparam("first"))
            )
        )
        assert session.scalar(named, {"last": "Ann", "first": "y"}) == 1
        assert session.scalar(named, {"last": "Ann", "first": "z"}) == 0
        session.execute(
            lambda_stmt(
                lambda: update(P).where(P.clinic == "acme", P.last == last, P.first == first).values(age=99)
            )
        )
        assert session.scalar(select(P.age).where(P.id == 3)) == 99
        session.execute(
            lambda_stmt(lambda: delete(P).where(P.clinic == "acme", P.last == last, P.first == first))
        )
        assert list(session.scalars(select(P.id).order_by(P.id))) == [1, 2]


def test_a_list_with_a_parameter_in_it_is_refused_where_several_columns_are_asked(
    clinic: tuple[Vault, Any],
) -> None:
    vault, P = clinic
    with vault.session() as session, pytest.raises(UnsupportedOperation, match="answers == of all"):
        session.scalars(
            select(P.id).where(P.clinic == "acme", P.last == "Ann", P.first.in_([bindparam("x"), "y"]))
        )
