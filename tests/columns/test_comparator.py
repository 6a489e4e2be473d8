"""Expressions over sealed columns are built whatever they are, and refused when they are compiled."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Integer, String, insert, select, update
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.indexable import index_property
from sqlalchemy.orm import Mapped, aliased, mapped_column

from sqlalchemy_cmk import EncryptedType, UnsupportedOperation
from tests.support.vault import Vault


class number_property(index_property):
    """As SQLAlchemy's documentation has it for JSON."""

    def expr(self, model: Any) -> Any:
        return super().expr(model).astext.cast(Integer)


@pytest.fixture
def person(make_vault: Callable[[], Vault]) -> Any:
    return declare(make_vault())


def declare(vault: Vault) -> Any:
    class Person(vault.base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        first: Mapped[str] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
        city: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))
        history: Mapped[dict[str, Any] | None] = mapped_column(EncryptedType(JSON))
        active: Mapped[bool | None] = mapped_column(EncryptedType(Boolean, deterministic=True))
        key = index_property("history", "key")
        number = number_property("history", "number")

        @hybrid_property
        def label(self) -> str:
            return self.first + "!"

        @label.inplace.expression
        @classmethod
        def _label(cls) -> Any:
            return cls.first.concat("!")

        @hybrid_property
        def shown(self) -> str:
            return self.first + "?"

    Person.vault = vault
    return Person


def test_a_class_with_a_hybrid_over_a_sealed_column_is_looked_at_and_written(person: Any) -> None:
    vault = person.vault
    vault.create()
    assert hasattr(person, "label") and hasattr(person, "shown") and hasattr(person, "number")
    assert {"shown", "key", "number"} <= {name for name, _ in inspect.getmembers(person)}
    assert person.shown is not None
    with vault.session() as session:
        session.execute(insert(person), [{"id": 1, "first": "a"}, {"id": 2, "first": "b"}])
        session.execute(insert(person).values(id=3, first="c"))
        session.execute(update(person), [{"id": 2, "first": "d"}])
        session.execute(update(person).where(person.id == 3).values(first="e"))
        session.bulk_insert_mappings(person, [{"id": 4, "first": "f", "history": {"key": "k", "number": 5}}])
        session.commit()
        found = session.scalars(select(person).order_by(person.id)).all()
        assert [one.shown for one in found] == ["a?", "d?", "e?", "f?"]
        assert (found[3].key, found[3].number) == ("k", 5)
        for expression in (person.shown, person.key, person.number):
            with pytest.raises(UnsupportedOperation, match="sealed"):
                session.execute(select(expression))


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "a label": lambda p: (p.first + "!").label("x"),
    "an operation on it": lambda p: (p.first + "!") + "x",
    "an operation on a label": lambda p: (p.first + "!").label("x") == "y",
    "negative": lambda p: -p.first,
    "on the right": lambda p: "x" + p.first,
    "an item": lambda p: p.history["key"],
    "an item of an item": lambda p: p.history["key"]["other"].as_string() == "x",
    "an item as text": lambda p: p.history["key"].astext.cast(Integer) > 5,
    "a path": lambda p: p.history[("a", "b")].as_integer(),
    "a key": lambda p: p.history.has_key("a"),
    "an operator": lambda p: p.first.op("->>")("a"),
    "a Boolean operator": lambda p: p.first.bool_op("&&")("a"),
    "like": lambda p: p.first.like("a%"),
    "startswith": lambda p: p.email.startswith("a"),
    "contains": lambda p: p.email.contains("a", autoescape=True),
    "between": lambda p: p.first.between("a", "b"),
    "less": lambda p: p.email < "x",
    "descending": lambda p: p.first.desc(),
    "nulls last": lambda p: p.first.asc().nulls_last(),
    "a collation": lambda p: p.first.collate("C"),
    "a regular expression": lambda p: p.first.regexp_replace("a", "b"),
    "equality": lambda p: p.first == "secret value",
    "not": lambda p: ~(p.first == "secret value"),
    "and": lambda p: (p.id == 1) & (p.first == "secret value"),
    "membership": lambda p: p.first.in_(["secret value"]),
    "membership of a SELECT": lambda p: p.first.in_(select(p.first)),
    "distinct": lambda p: p.first.distinct(),
    "columns": lambda p: p.first == p.email,
    "an alias": lambda p: aliased(p).first + "x",
    "a column of the table": lambda p: p.__table__.c.first + "x",
    "is True": lambda p: p.active.is_(True),
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_an_operation_is_refused_when_it_is_compiled_and_never_cached(person: Any, what: str) -> None:
    expression = OPERATIONS[what](person)
    for statement in (
        select(expression),
        select(person.id).where(expression),
        select(person.id).order_by(expression),
        select(select(expression.label("x")).subquery()),
    ):
        for _ in range(2):
            with pytest.raises(UnsupportedOperation) as caught:
                statement.compile(person.vault.engine)
            assert "secret value" not in f"{caught.value} {expression!r} {vars(expression)}"
            assert "sealed" in str(caught.value)
        assert statement._generate_cache_key() is None


def test_a_refused_statement_leaves_no_other_in_its_place(person: Any) -> None:
    vault = person.vault
    vault.create()
    with vault.session() as session:
        session.add(person(id=1, first="a", email="x"))
        session.commit()
        for _ in range(2):
            with pytest.raises(UnsupportedOperation):
                session.execute(select(person.id).where(person.first == "a"))
            assert session.scalars(select(person.id).where(person.email == "x")).all() == [1]
            with pytest.raises(UnsupportedOperation):
                session.execute(select(person.id).where(person.email > "x"))
            assert session.scalars(select(person.id).where(person.email.in_(["x"]))).all() == [1]


def test_columns_are_found_in_lists(person: Any) -> None:
    c = person.__table__.c
    assert c.first in [c.email, c.first] and c.first not in [c.email, c.id]
    assert bool(person.first == person.first) and not bool(person.first == person.email)
    assert bool(c.first != c.email) and not bool(c.first != c.first)
    with pytest.raises(TypeError):
        bool(person.first > person.email)


def test_true_and_false_are_values(person: Any) -> None:
    vault = person.vault
    vault.create()
    with vault.session() as session:
        session.add_all([person(id=1, first="a", active=True), person(id=2, first="b", active=False)])
        session.commit()
        assert session.scalars(select(person.id).where(person.active == True)).all() == [1]  # noqa: E712
        assert session.scalars(select(person.id).where(person.active != True)).all() == [2]  # noqa: E712
        assert session.scalars(select(person.id).where(person.active.in_([False]))).all() == [2]


def test_an_unknown_name_is_missing_as_ever(person: Any) -> None:
    assert not hasattr(person.first, "no_such_thing")
    assert not hasattr(person.first + "x", "no_such_thing")
