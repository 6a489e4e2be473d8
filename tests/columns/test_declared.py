"""What sealed values cannot keep is refused by `protect`, or by the first statement that meets it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, column_property, declarative_base, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType, Keyring, UnsupportedOperation
from sqlalchemy_cmk.keys.declarations import refuse_wrong_declarations
from sqlalchemy_cmk.providers import LocalKeyProvider


def random() -> EncryptedType:
    return EncryptedType(String(40))


def alike(context: str | None = None, **options: Any) -> EncryptedType:
    return EncryptedType(String(40), deterministic=True, context=context, **options)


def table(*items: Any, name: str = "t", metadata: MetaData | None = None, info: Any = None) -> MetaData:
    """A metadata with one more table."""
    metadata = metadata or MetaData()
    has_key = any(
        isinstance(one, PrimaryKeyConstraint) or getattr(one, "primary_key", False) for one in items
    )
    key = [] if has_key else [Column("id", Integer, primary_key=True)]
    Table(name, metadata, *key, *items, info=dict(info or {}))
    return metadata


def late(column: Column[Any], index: Callable[[Any], Index]) -> MetaData:
    """An index that is declared after its table."""
    metadata = table(column, Column("plain", String(40)))
    index(metadata.tables["t"].c)
    return metadata


def pair(ours: Any, theirs: Any, ours_info: Any = None, theirs_info: Any = None) -> MetaData:
    """A table `t` whose column `a` refers to column `a` of another."""
    metadata, clinic = MetaData(), ("clinic", String(40))
    table(
        Column("a", theirs, unique=True), Column(*clinic), name="other", metadata=metadata, info=theirs_info
    )
    key = ForeignKeyConstraint(["a"], ["other.a"])
    return table(Column("a", ours), Column(*clinic), key, metadata=metadata, info=ours_info)


CLINICS = {"cmk_tenant": "clinic"}
PLATFORM = {"cmk_tenant": None}

REFUSED: dict[str, tuple[Callable[[], MetaData], str]] = {
    "a unique column": (
        lambda: table(Column("a", random(), unique=True)),
        r"^t\.a: a unique constraint .*stops no duplicate: declare it EncryptedType\(\.\.\., deterministic",
    ),
    "a unique constraint over several columns": (
        lambda: table(Column("a", random()), Column("b", String(9)), UniqueConstraint("b", "a")),
        r"^t\.a: a unique constraint",
    ),
    "a unique constraint over a row-bound column": (
        lambda: table(Column("a", EncryptedType(String, row_bound=True)), UniqueConstraint("a")),
        r"^t\.a: a unique constraint",
    ),
    "an exclude constraint": (
        lambda: table(Column("a", random()), postgresql.ExcludeConstraint(("a", "="))),
        r"^t\.a: a unique constraint",
    ),
    "a column with an index": (
        lambda: table(Column("a", random(), index=True)),
        r"^t\.a: the index ix_t_a .*finds no value.*or drop the index",
    ),
    "a unique index": (
        lambda: table(Column("a", random(), index=True, unique=True)),
        r"^t\.a: the index ix_t_a .*stops no duplicate",
    ),
    "an index over several columns": (
        lambda: late(Column("a", random()), lambda c: Index("ix", c.plain, c.a)),
        r"^t\.a: the index ix ",
    ),
    "an index by name": (
        lambda: table(Column("a", random()), Index("ix", "id", "a")),
        r"^t\.a: the index ix ",
    ),
    "an index over a function": (
        lambda: late(Column("a", alike()), lambda c: Index("ix", func.coalesce(c.a, c.plain))),
        r"^t\.a: the index ix would compute with its sealed bytes: index the column itself",
    ),
    "an index over SQL text": (
        lambda: late(Column("a", alike()), lambda c: Index("ix", c.plain, text("lower(a)"))),
        r"^t\.a: the index ix would compute",
    ),
    "an index over a literal column": (
        lambda: late(Column("a", alike()), lambda c: Index("ix", func.lower(literal_column("t.a")), c.plain)),
        r"^t\.a: the index ix would compute",
    ),
    "a unique index over a function": (
        lambda: table(Column("a", alike()), Index("ix", text("lower(a)"), unique=True)),
        r"^t\.a: the index ix would compute",
    ),
    "an index over a function beside its column": (
        lambda: table(column := Column("a", random()), Index("ix", func.lower(column))),
        r"^t\.a: the index ix would compute",
    ),
    "the condition of an index": (
        lambda: late(Column("a", alike()), lambda c: Index("ix", c.plain, sqlite_where=c.a == "x")),
        r"^t\.a: the condition of the index ix would compute.* only IS NULL and IS NOT NULL may stand",
    ),
    "the condition of an index in SQL text": (
        lambda: late(Column("a", random()), lambda c: Index("ix", c.plain, postgresql_where="a <> ''")),
        r"^t\.a: the condition of the index ix would compute",
    ),
    "a check": (
        lambda: table(Column("a", random()), CheckConstraint("length(a) < 12", name="short")),
        r"^t\.a: the CHECK constraint short would compute.* check the value in Python, in @validates",
    ),
    "a check that is an expression": (
        lambda: table(column := Column("a", alike()), CheckConstraint(func.length(column) < 12)),
        r"^t\.a: a CHECK constraint would compute",
    ),
    "a computed column": (
        lambda: table(Column("a", random()), Column("b", String(40), Computed("lower(a)"))),
        r"^t\.a: the computed column b would compute.* compute the value in Python, in a property",
    ),
    "a primary key": (
        lambda: table(Column("a", random(), primary_key=True)),
        r"^t\.a: a primary key cannot be sealed with a random nonce.*deterministic=True",
    ),
    "a composite primary key": (
        lambda: table(
            Column("a", random()), Column("b", Integer), PrimaryKeyConstraint("b", "a", name="pk_t")
        ),
        r"^t\.a: a primary key",
    ),
    "a foreign key to a plain column": (
        lambda: pair(alike("x"), String(40)),
        r"^the foreign key t\.a to other\.a compares a sealed column with a plain one",
    ),
    "a foreign key from a plain column": (
        lambda: pair(String(40), alike("x")),
        r"^the foreign key t\.a to other\.a compares a sealed column with a plain one",
    ),
    "a foreign key from a randomized column": (
        lambda: pair(random(), alike("x")),
        r"^the foreign key t\.a to other\.a compares columns that are not sealed alike",
    ),
    "a foreign key between unlike contexts": (
        lambda: pair(alike(), alike()),
        r"not sealed alike: declare both EncryptedType\(\.\.\., deterministic=True, context=",
    ),
    "a foreign key from a tenant's row to the platform's": (
        lambda: pair(alike("x"), alike("x"), CLINICS, PLATFORM),
        r"^the foreign key t\.a to other\.a .*give both the same owner",
    ),
    "a foreign key from a tenant's column to a column of the platform": (
        lambda: pair(alike("x"), alike("x", owner="platform"), CLINICS, CLINICS),
        r"^the foreign key t\.a to other\.a .*give both the same owner",
    ),
    "a foreign key that takes over the type": (
        lambda: table(
            Column("a", ForeignKey("other.a")),
            metadata=table(Column("a", alike(), unique=True), name="other"),
        ),
        r"^t\.a has no EncryptedType of its own: give it one.*for a foreign key",
    ),
    "a value that the database computes": (
        lambda: table(Column("a", random(), Computed("'x'"))),
        r"^t\.a: the database would write its default or computed value unsealed",
    ),
    "a row-bound column without a primary key": (
        lambda: table(
            Column("a", EncryptedType(String, row_bound=True)), PrimaryKeyConstraint(), info=PLATFORM
        ),
        r"^t: a row-bound column needs a primary key, or __cmk_row__",
    ),
    "a row identity that is not there": (
        lambda: table(Column("a", EncryptedType(String, row_bound=True)), info={"cmk_row": ("nr",)}),
        r"^t: __cmk_row__ names 'nr'",
    ),
    "a row identity of a type that cannot be bound": (
        lambda: table(
            Column("a", EncryptedType(String, row_bound=True)),
            Column("nr", postgresql.INET()),
            info={"cmk_row": ("nr",)},
        ),
        r"^t: the row identity \(nr\) cannot be bound: ",
    ),
    "a row-bound column in its own row identity": (
        lambda: table(Column("a", EncryptedType(String, row_bound=True)), info={"cmk_row": ("id", "a")}),
        r"^t\.a identifies the row, and cannot be row-bound itself",
    ),
    "a tenant column that is not there": (
        lambda: table(Column("a", random()), info={"cmk_tenant": "clinik"}),
        r"^t: info=.*'clinik' is not a column of the table",
    ),
    "a tenant column given as a column": (
        lambda: table(Column("a", random()), info={"cmk_tenant": Column("clinic", String)}),
        r"^t: info=\{'cmk_tenant': \.\.\.\} is the key of its tenant column or None",
    ),
    "a sealed tenant column": (
        lambda: table(Column("a", random()), info={"cmk_tenant": "a"}),
        r"^t\.a: the tenant column cannot itself be sealed",
    ),
    "a mistyped name in info": (
        lambda: table(Column("a", random()), info={"cmk_tennant": "id"}),
        r"^t: info has 'cmk_tennant', which means nothing here: did you mean 'cmk_tenant'",
    ),
}

FINE: dict[str, Callable[[], MetaData]] = {
    "deterministic columns in every key": lambda: late(
        Column("a", alike(), unique=True, index=True), lambda c: Index("ix", c.plain, c.a, unique=True)
    ),
    "a deterministic primary key": lambda: table(Column("a", alike(), primary_key=True)),
    "an index beside a sealed column": lambda: late(
        Column("a", random()), lambda c: Index("ix", func.lower(c.plain), postgresql_include=["a"])
    ),
    "a partial index": lambda: late(
        Column("a", random()), lambda c: Index("ix", c.plain, postgresql_where=c.a.is_not(None))
    ),
    "a check that there is a value": lambda: table(Column("a", random()), CheckConstraint("a IS NOT NULL")),
    "a check beside a sealed column": lambda: table(
        Column("a", random()), Column("b", String(9)), CheckConstraint("b IN ('a', 'it''s a') OR a is null")
    ),
    "a computed column beside a sealed one": lambda: table(
        Column("a", random()), Column("b", String(9)), Column("c", String(9), Computed("lower(b)"))
    ),
    "a foreign key within a context": lambda: pair(alike("x"), alike("x")),
    "a foreign key within a context and owner": lambda: pair(alike("x"), alike("x"), CLINICS, CLINICS),
    "a foreign key between the platform's": lambda: pair(
        alike("x"), alike("x", owner="platform"), PLATFORM, CLINICS
    ),
    "a foreign key between plain columns": lambda: pair(String(40), String(40)),
    "a foreign key to what is not declared": lambda: table(
        Column("a", random()), Column("b", ForeignKey("x.y"))
    ),
    "the platform's column in a platform's table": lambda: table(
        Column("a", EncryptedType(String, owner="platform"))
    ),
    "a row-bound column": lambda: table(Column("a", EncryptedType(String, row_bound=True))),
    "a row-bound column with a sealed identity": lambda: table(
        Column("a", EncryptedType(String, row_bound=True)), Column("nr", alike()), info={"cmk_row": ("nr",)}
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_declaration_that_sealed_values_cannot_keep_is_refused(name: str) -> None:
    declare, message = REFUSED[name]
    metadata = declare()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=message):
            refuse_wrong_declarations(metadata)


@pytest.mark.parametrize("name", FINE)
def test_a_declaration_that_they_keep_passes(name: str) -> None:
    refuse_wrong_declarations(FINE[name]())


def test_all_that_is_wrong_is_said_at_once() -> None:
    metadata = table(Column("a", random(), unique=True), Column("b", random(), index=True), name="one")
    table(Column("c", random(), unique=True), metadata=metadata, name="two")
    with pytest.raises(ConfigurationError) as caught:
        refuse_wrong_declarations(metadata)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["one.a", "one.b", "two.c"]


def test_what_is_declared_after_a_check_is_checked() -> None:
    metadata = table(Column("a", random()))
    later: list[Callable[[], Any]] = [
        lambda: Index("ix", metadata.tables["t"].c.a),
        lambda: metadata.tables["t"].append_constraint(UniqueConstraint("a")),
        lambda: metadata.tables["t"].append_column(Column("b", random(), unique=True)),
        lambda: table(Column("b", random(), unique=True), metadata=metadata, name="other"),
    ]
    for declare in later:
        metadata = table(Column("a", random()))
        refuse_wrong_declarations(metadata)
        declare()
        with pytest.raises(ConfigurationError):
            refuse_wrong_declarations(metadata)


def test_one_table_is_not_refused_for_another() -> None:
    metadata = table(Column("a", random(), unique=True))
    fine = table(Column("a", random()), metadata=metadata, name="fine").tables["fine"]
    refuse_wrong_declarations(metadata, fine)
    with pytest.raises(ConfigurationError, match=r"^t\.a: a unique"):
        refuse_wrong_declarations(metadata, metadata.tables["t"])


def test_protect_refuses_and_serves_nothing(tmp_path: Path) -> None:
    metadata = table(Column("a", random(), unique=True))
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    with pytest.raises(ConfigurationError, match=r"^t\.a: a unique constraint"):
        keyring.protect(metadata)
    assert keyring.protected == ()
    with pytest.raises(ConfigurationError, match=r"call keyring\.protect"), engine.begin() as connection:
        connection.execute(metadata.tables["t"].insert(), [{"a": "x"}])
    keyring.close()
    engine.dispose()


def mapped(expression: Callable[[Any], Any], **options: Any) -> Any:
    """A model that loads an expression over a randomized and a deterministic column."""
    base = declarative_base()
    a, b = mapped_column(random()), mapped_column(alike())
    names = {"__tablename__": "t", "id": mapped_column(Integer, primary_key=True), "a": a, "b": b}
    return type("Thing", (base,), {**names, "x": column_property(expression((a, b)), **options)})


@pytest.mark.parametrize(
    "expression",
    [lambda c: func.lower(c[0]), lambda c: c[1].like("x%"), lambda c: c[0] + c[1], lambda c: c[0] == "x"],
    ids=["function", "like", "concatenation", "comparison"],
)
def test_a_column_property_that_computes_with_a_sealed_column_is_refused(expression: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^Thing\.x is loaded with every object: .* or defer it$"):
        mapped(expression)
    mapped(expression, deferred=True)


def test_a_column_property_that_sealed_values_can_answer_is_mapped() -> None:
    mapped(lambda c: c[0].is_(None))
    mapped(lambda c: c[1] == "x")


STATEMENTS: dict[str, Callable[[Any], Any]] = {
    "insert": lambda model: model.__table__.insert().values(a="x", b="y"),
    "update": lambda model: model.__table__.update().values(a="x"),
    "select": lambda model: select(model),
    "compare": lambda model: select(model.id).where(model.b == "x"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_first_statement_refuses_what_was_declared_after_protect(name: str, make_vault: Any) -> None:
    vault = make_vault()

    class Late(vault.base):
        __tablename__ = "late"
        id: Mapped[int] = mapped_column(primary_key=True)
        a: Mapped[str] = mapped_column(random())
        b: Mapped[str] = mapped_column(alike())

    vault.create()
    with vault.session() as session:
        session.add(Late(a="1", b="2"))
        session.commit()
        Index("ix", Late.__table__.c.a)
        with pytest.raises(ConfigurationError, match=r"^late\.a: the index ix"):
            session.execute(STATEMENTS[name](Late)).all()


@pytest.mark.parametrize(
    ("target", "refused"),
    [
        (lambda t: ["a"], True),
        (lambda t: [t.c.a], True),
        (lambda t: ["id", "a_name"], True),
        (lambda t: [func.lower(t.c.a)], True),
        (lambda t: ["b"], False),
        (lambda t: [text("b")], False),
    ],
    ids=["name", "column", "among others", "in a function", "deterministic", "text"],
)
def test_an_upsert_by_a_randomized_column_is_refused(target: Any, refused: bool, make_vault: Any) -> None:
    vault = make_vault()
    columns = (Column("a_name", random(), key="a"), Column("b", alike(), unique=True))
    patients = table(*columns, metadata=vault.base.metadata).tables["t"]
    vault.create()
    upsert = sqlite.insert(patients).values(a="x", b="y")
    for statement in (
        upsert.on_conflict_do_nothing(index_elements=target(patients)),
        upsert.on_conflict_do_update(index_elements=target(patients), set_={"a": upsert.excluded.a}),
    ):
        with vault.engine.begin() as connection:
            if refused:
                with pytest.raises(
                    UnsupportedOperation, match=r"t\.a_name .*an upsert finds no conflict in it"
                ):
                    connection.execute(statement)
            else:
                connection.execute(statement)
