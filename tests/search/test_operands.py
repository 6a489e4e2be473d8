"""What stands beside an indexed column: values in any form become tokens, and nothing else is compared."""

from typing import Any

import pytest
from sqlalchemy import String, bindparam, event, func, lambda_stmt, literal, literal_column, select
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation
from sqlalchemy_cmk.search import Exact
from tests.support.vault import Vault


@pytest.fixture
def people(make_vault: Any) -> Any:
    vault: Vault = make_vault()

    class Person(vault.base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        plain: Mapped[str | None]
        email: Mapped[str] = mapped_column(EncryptedType(String(40), index=[Exact()]))
        other: Mapped[str | None] = mapped_column(EncryptedType(String(40)))

    vault.create()
    with vault.session() as session:
        session.add_all([Person(id=1, email="a@b", plain="a@b"), Person(id=2, email="c@d")])
        session.commit()
    return vault, Person


@pytest.mark.parametrize(
    "asked",
    [
        lambda column: column == literal("a@b"),
        lambda column: column == literal("a@b", String()),
        lambda column: column == literal("a@b", column.type),
        lambda column: column == bindparam("given", "a@b", type_=String()),
        lambda column: column.in_(["a@b", "x"]),
        lambda column: column.in_([literal("a@b"), bindparam("given", "x", String())]),
        lambda column: column.in_(bindparam("given", ["a@b"], String(), expanding=True)),
        lambda column: (column == "a@b").is_(True),
        lambda column: column.table.c.id.in_(select(column.table.c.id).where(column == "a@b")),
    ],
)
def test_a_value_is_found_whatever_type_its_parameter_is_given(people: Any, asked: Any) -> None:
    vault, Person = people
    sent: list[Any] = []
    with vault.session() as session:
        _note_sent(session, sent)
        assert session.scalars(select(Person.id).where(asked(Person.email))).all() == [1]
    assert sent
    assert "a@b" not in repr(sent)


def test_the_parameters_of_a_cached_lambda_are_those_of_the_call(people: Any) -> None:
    vault, Person = people
    with vault.session() as session:

        def found(value: str, several: list[str]) -> Any:
            one = lambda_stmt(lambda: select(Person.id).where(Person.email == value))
            many = lambda_stmt(lambda: select(Person.id).where(Person.email.in_(several)))
            return session.scalars(one).all(), sorted(session.scalars(many))

        assert found("a@b", ["a@b", "x"]) == ([1], [1])
        assert found("c@d", ["x", "c@d"]) == ([2], [2])
        assert found("x", ["c@d", "a@b"]) == ([], [1, 2])


@pytest.mark.parametrize(
    "asked",
    [
        lambda Person: Person.email == Person.plain,
        lambda Person: Person.email == Person.other,
        lambda Person: Person.email == func.lower("A@B"),
        lambda Person: Person.email == literal_column("'a@b'"),
        lambda Person: Person.email.in_([Person.plain]),
        lambda Person: Person.email.in_(select(Person.plain)),
        lambda Person: Person.__table__.c.email_exact == literal("a@b", String()),
        lambda Person: Person.__table__.c.email_exact == Person.plain,
        lambda Person: Person.__table__.c.email_exact.in_([Person.plain, "a"]),
    ],
)
def test_what_gives_no_token_is_not_compared(people: Any, asked: Any) -> None:
    vault, Person = people
    with vault.session() as session, pytest.raises(UnsupportedOperation):
        session.scalars(select(Person.id).where(asked(Person))).all()


def _note_sent(session: Any, sent: list[Any]) -> None:
    @event.listens_for(session.get_bind(), "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "email_exact" in statement:
            sent.append((statement, parameters))
