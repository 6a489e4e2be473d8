"""Hidden columns: there for the database, and nowhere that models, entities or ``select(table)`` show."""

import pickle
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, inspect, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    aliased,
    declared_attr,
    mapped_column,
)

from sqlalchemy_cmk import ConfigurationError, EncryptedType, UnsupportedOperation
from sqlalchemy_cmk.search import Exact, NGram, fold
from tests.support.vault import Vault


def sealed(*indexes: Exact, type_: Any = None, **options: Any) -> EncryptedType:
    return EncryptedType(String(40) if type_ is None else type_, index=indexes or (Exact(),), **options)


def people(metadata: MetaData, *columns: Column[Any]) -> Table:
    return Table("people", metadata, Column("id", Integer, primary_key=True), *columns)


def test_a_dataclass_model_neither_takes_nor_shows_tokens() -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str | None] = mapped_column(sealed())
        name: Mapped[str | None]

    person = Person(1, "a@b", "Ann")
    assert "exact" not in repr(person)
    assert Person.__mapper__.attrs.keys() == ["id", "email", "name"]
    assert Person.__table__.c.keys() == ["id", "email", "name", "email_exact"]
    selected = [
        select(Person),
        select(Person.__table__),
        select(aliased(Person)),
        select(Person.__table__.alias()),
    ]
    for statement in [*selected, select(select(Person.__table__).subquery())]:
        assert "exact" not in str(statement)
        assert len(statement.selected_columns) == 3


def test_create_all_makes_them_and_their_indexes(make_vault: Callable[..., Vault]) -> None:
    vault = make_vault()
    people(
        vault.base.metadata, Column("a", sealed(Exact(unique=True))), Column("b", sealed(Exact(name="found")))
    )
    vault.create()
    found = inspect(vault.engine)
    assert [one["name"] for one in found.get_columns("people")] == ["id", "a", "b", "a_exact", "b_found"]
    by = {tuple(one["column_names"]): one["unique"] for one in found.get_indexes("people")}
    assert by == {("a_exact",): 1, ("b_found",): 0}


def test_copies_of_a_table_have_tokens_of_their_own(make_vault: Callable[..., Vault]) -> None:
    table = people(MetaData(), Column("email", sealed(context="email")))
    vault = make_vault()
    copy = table.to_metadata(vault.base.metadata)
    assert copy.c.keys() == table.c.keys()
    assert [[one.name for one in index.columns] for index in copy.indexes] == [["email_exact"]]
    vault.create()
    with vault.engine.begin() as connection:
        connection.execute(copy.insert(), [{"id": 1, "email": "a@b"}])
        assert connection.execute(select(copy.c.id).where(copy.c.email == "a@b")).scalar() == 1


Mail = Annotated[str, mapped_column(EncryptedType(String(40), index=[Exact()]))]


class _Mixed:
    id: Mapped[int] = mapped_column(primary_key=True)
    mail: Mapped[str] = mapped_column(sealed())


class _Computed:
    id: Mapped[int] = mapped_column(primary_key=True)

    @declared_attr
    def mail(cls) -> Mapped[str]:
        return mapped_column(sealed())


def _mixed(base: Any) -> list[Any]:
    return [
        type("A", (_Mixed, base), {"__tablename__": "a"}),
        type("B", (_Mixed, base), {"__tablename__": "b"}),
    ]


def _computed(base: Any) -> list[Any]:
    both = _Computed, base
    return [type("A", both, {"__tablename__": "a"}), type("B", both, {"__tablename__": "b"})]


def _abstract(base: Any) -> list[Any]:
    parent = type("Parent", (_Mixed, base), {"__abstract__": True})
    return [type("A", (parent,), {"__tablename__": "a"}), type("B", (parent,), {"__tablename__": "b"})]


def _annotated(base: Any) -> list[Any]:
    class A(base):
        __tablename__ = "a"
        id: Mapped[int] = mapped_column(primary_key=True)
        mail: Mapped[Mail]
        second: Mapped[Mail | None]

    class B(base):
        __tablename__ = "b"
        id: Mapped[int] = mapped_column(primary_key=True)
        mail: Mapped[Mail]

    return [A, B]


def _single(base: Any) -> list[Any]:
    class A(base):
        __tablename__ = "a"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "a"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str]

    class B(A):
        __mapper_args__ = {"polymorphic_identity": "b"}  # noqa: RUF012
        mail: Mapped[str | None] = mapped_column(sealed())

    return [B]


def _concrete(base: Any) -> list[Any]:
    class A(_Mixed, base):
        __tablename__ = "a"

    class B(A):
        __tablename__ = "b"
        __mapper_args__ = {"concrete": True}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)
        mail: Mapped[str] = mapped_column(sealed())

    return [A, B]


def _imperative(base: Any) -> list[Any]:
    class A:
        pass

    base.registry.map_imperatively(A, people(base.metadata, Column("mail", sealed())))
    return [A]


@pytest.mark.parametrize(
    "declare", [_mixed, _computed, _abstract, _annotated, _single, _concrete, _imperative]
)
def test_an_index_is_declared_wherever_its_column_is(
    make_vault: Callable[..., Vault], declare: Callable[[Any], list[Any]]
) -> None:
    vault = make_vault()
    models = declare(vault.base)
    vault.create()
    with vault.session() as session:
        for model in models:
            for mail in ("a@b", "c@d"):
                one = model()
                one.mail = mail
                session.add(one)
        session.commit()
        for model in models:
            (found,) = session.scalars(select(model).where(model.mail == "a@b"))
            assert (type(found), found.mail) == (model, "a@b")


def test_a_temporary_table_has_its_tokens(make_vault: Callable[..., Vault]) -> None:
    vault = make_vault()
    vault.create()
    columns = Column("id", Integer, primary_key=True), Column("email", sealed())
    table = Table("passing", vault.base.metadata, *columns, prefixes=["TEMPORARY"])
    grams = (
        Column("id", Integer, primary_key=True),
        Column("email", EncryptedType(String(9), index=[NGram()])),
    )
    other = Table("searched", vault.base.metadata, *grams, prefixes=["TEMPORARY"])
    with vault.engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"email": "a@b"}, {"email": "c@d"}])
        assert connection.scalars(select(table.c.id).where(table.c.email == "a@b")).all() == [1]
        with pytest.raises(ConfigurationError, match="a temporary table has not"):
            other.create(connection)


def test_a_reflected_table_finds_the_columns_that_are_there(make_vault: Callable[..., Vault]) -> None:
    vault = make_vault()
    people(vault.base.metadata, Column("email", sealed()))
    vault.create()
    reflected = Table("people", MetaData(), Column("email", sealed()), autoload_with=vault.engine)
    vault.keyring.protect(reflected.metadata)
    with vault.engine.begin() as connection:
        connection.execute(reflected.insert(), [{"id": 1, "email": "a@b"}])
        assert connection.execute(select(reflected).where(reflected.c.email == "a@b")).one() == (1, "a@b")


def test_a_column_that_comes_later_brings_its_tokens() -> None:
    table = people(MetaData())
    table.append_column(Column("email", sealed()))
    assert table.c.keys() == ["id", "email", "email_exact"]

    class Base(DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "people"
        id: Mapped[int] = mapped_column(primary_key=True)

    Person.email = mapped_column(sealed())  # type: ignore[attr-defined]
    assert "email_exact" in Person.__table__.c
    assert Person.__mapper__.attrs.keys() == ["id", "email"]


def test_a_pickled_table_has_its_columns() -> None:
    table = pickle.loads(pickle.dumps(people(MetaData(), Column("email", sealed()))))
    assert table.c.keys() == ["id", "email", "email_exact"]
    assert len(list(select(table).selected_columns)) == 2


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (Column("email_exact", LargeBinary), 'another name, as in Exact\\(name="other"\\)'),
        (Column("email_exact", String(10)), "declared as something else"),
    ],
)
def test_a_column_of_the_application_is_not_taken_over(column: Column[Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        people(MetaData(), Column("email", sealed()), column)


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: sealed(Exact(), Exact()), "two indexes are called 'exact'"),
        (lambda: EncryptedType(String, index="exact"), "a list of search indexes"),
        (lambda: EncryptedType(String, index=[Exact]), "a list of search indexes"),
        (lambda: Exact(bits=0), "1 to 128"),
        (lambda: Exact(bits=20, unique=True), "all 128 bits"),
        (lambda: Exact(normalize=str.casefold), "normalize=fold"),
        (
            lambda: people(MetaData(), Column("n", sealed(Exact(normalize=fold), type_=Integer()))),
            "only text",
        ),
        (lambda: sealed(accept_plaintext=True), "seal them first"),
    ],
)
def test_a_wrong_declaration_says_what_to_write(declare: Callable[[], Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        declare()


def test_the_type_shows_its_indexes_and_keeps_them_in_copies() -> None:
    type_ = sealed(Exact(unique=True))
    assert "index=[Exact(" in repr(type_)
    assert (
        type_.copy().scheme.index == pickle.loads(pickle.dumps(type_)).scheme.index == (Exact(unique=True),)
    )
    assert type_.option_texts() == []


def test_a_subquery_has_no_tokens_and_says_what_to_do(make_vault: Callable[..., Vault]) -> None:
    table = people(make_vault().base.metadata, Column("email", sealed()))
    inner = select(table).subquery()
    with pytest.raises(UnsupportedOperation, match="compare inside the subquery"):
        select(inner).where(inner.c.email == "a@b").compile()


def test_columns_with_one_context_and_equal_indexes_join(make_vault: Callable[..., Vault]) -> None:
    vault = make_vault()
    metadata = vault.base.metadata
    table = people(metadata, Column("email", sealed(context="email")))
    logins = Table(
        "logins", metadata, Column("id", Integer, primary_key=True), Column("mail", sealed(context="email"))
    )
    vault.create()
    with Session(vault.engine) as session:
        session.execute(table.insert(), [{"id": 1, "email": "a@b"}, {"id": 2, "email": "c@d"}])
        session.execute(logins.insert(), [{"id": 7, "mail": "c@d"}])
        query = select(table.c.id, logins.c.id).join(logins, table.c.email == logins.c.mail)
        assert session.execute(query).all() == [(2, 7)]
