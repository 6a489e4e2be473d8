"""Values that a statement compares with reach the driver sealed, or not at all, and no error shows them."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    String,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from sqlalchemy_cmk import EncryptedType, InvalidValue, TenantRequired, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.columns.presealed import PREFIX, PREFIX_BYTES, Unsealed, is_presealed
from sqlalchemy_cmk.columns.writing import ColumnWriter
from tests.faults.watching import forms, told
from tests.support.vault import Vault

SECRET, OTHER = "PLANTED-SECRET", "PLANTED-OTHER"


class Driver:
    """What reaches the driver: the parameters of each statement on the application's connections."""

    def __init__(self, vault: Vault, paramstyle: str) -> None:
        self.sent: list[Any] = []
        own = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, parameters: Any = ()) -> Any:
                own.sent.append(parameters)
                return super().execute(sql, parameters)

            def executemany(self, sql: str, parameters: Any) -> Any:
                own.sent += (parameters := list(parameters))
                return super().executemany(sql, parameters)

        class Connection(sqlite3.Connection):
            def cursor(self, factory: Any = None) -> Any:
                return super().cursor(factory or Cursor)

        self.vault = vault
        self.engine: Engine = create_engine(
            vault.engine.url, connect_args={"factory": Connection}, paramstyle=paramstyle
        )

    def values(self) -> list[Any]:
        """The single values that were sent, and forgotten."""
        sets, self.sent[:] = list(self.sent), []
        return [value for one in sets for value in (one.values() if isinstance(one, dict) else one)]


@pytest.fixture
def vault(make_vault: Callable[[], Vault]) -> Vault:
    vault = make_vault()
    plain = Column("id", Integer, primary_key=True), Column("clinic", String(20)), Column("code", Integer)
    ssn = Column("ssn", EncryptedType(String(40)))
    email = Column("email", EncryptedType(String(40), deterministic=True), unique=True)
    Table("patients", vault.base.metadata, *plain, ssn, email, info={"cmk_tenant": "clinic"})
    vault.create()
    return vault


@pytest.fixture
def table(vault: Vault) -> Table:
    return vault.base.metadata.tables["patients"]


@pytest.fixture(params=["qmark", "named"])
def driver(vault: Vault, table: Table, request: pytest.FixtureRequest) -> Iterator[Driver]:
    driver = Driver(vault, request.param)
    with driver.engine.begin() as connection:
        rows = [(1, "acme", SECRET), (2, "acme", OTHER), (3, "globex", SECRET)]
        named = [{"id": n, "clinic": c, "ssn": e, "email": e} for n, c, e in rows]
        connection.execute(insert(table), named)
    driver.values()
    yield driver
    driver.engine.dispose()


def shows(text_: str) -> list[str]:
    """What a text shows that it must not: a value, or the prefix of presealed ones."""
    secrets = {"secret": SECRET, "other": OTHER, "prefix": PREFIX}
    return [name for name, secret in secrets.items() if any(form in text_ for form in forms(secret))]


CRITERIA: dict[str, tuple[Callable[[Any], Any], Any, list[int]]] = {
    "a value": (lambda t: t.c.email == SECRET, {}, [1]),
    "a value and others": (lambda t: (t.c.email == SECRET) & (t.c.id < 9) & (t.c.clinic == "acme"), {}, [1]),
    "a named value": (lambda t: t.c.email == bindparam("e"), {"e": SECRET}, [1]),
    "a named value with a default": (lambda t: t.c.email == bindparam("e", SECRET, t.c.email.type), {}, [1]),
    "a named value given instead": (
        lambda t: t.c.email == bindparam("e", OTHER, t.c.email.type),
        {"e": SECRET},
        [1],
    ),
    "an unequal value": (lambda t: (t.c.email != SECRET) & (t.c.clinic == "acme"), {}, [2]),
    "values of IN": (lambda t: t.c.email.in_([SECRET, OTHER]), {}, [1, 2]),
    "one value of IN": (lambda t: t.c.email.in_([OTHER]), {}, [2]),
    "no value of IN": (lambda t: t.c.email.in_([]), {}, []),
    "values of NOT IN": (lambda t: t.c.email.not_in([SECRET]) & (t.c.clinic == "acme"), {}, [2]),
    "a list by name": (
        lambda t: t.c.email.in_(bindparam("e", expanding=True)),
        {"e": [SECRET, OTHER]},
        [1, 2],
    ),
    "two values": (lambda t: (t.c.email == SECRET) | (t.c.email == OTHER), {}, [1, 2]),
    "a value in a subquery": (lambda t: t.c.id.in_(select(t.c.id).where(t.c.email == SECRET)), {}, [1]),
    "a named value in a subquery": (
        lambda t: t.c.id.in_(select(t.c.id).where(t.c.email == bindparam("e"))),
        {"e": SECRET},
        [1],
    ),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_values_are_compared_sealed_for_the_scope(driver: Driver, table: Table, name: str) -> None:
    criteria, given, expected = CRITERIA[name]
    with tenant_scope("acme"), driver.engine.connect() as connection:
        found = connection.scalars(select(table.c.id).where(criteria(table)).order_by(table.c.id), given)
        assert found.all() == expected
    sent = driver.values()
    assert not {SECRET, OTHER}.intersection(sent) and not any(map(is_presealed, sent))
    sealed = [value for value in sent if isinstance(value, bytes)]
    assert {driver.vault.owner(value) for value in sealed} <= {"acme"}
    assert bool(sealed) is (name != "no value of IN")


def test_values_are_compared_sealed_for_the_tenant_that_the_statement_names(
    driver: Driver, table: Table
) -> None:
    given = select(table.c.id).where(table.c.clinic == bindparam("c"), table.c.email == bindparam("e"))
    with driver.engine.connect() as connection:
        for clinic, number in (("acme", 1), ("globex", 3), ("acme", 1)):
            assert connection.scalars(given, {"c": clinic, "e": SECRET}).all() == [number]
            (stored,) = (value for value in driver.values() if isinstance(value, bytes))
            assert driver.vault.owner(stored) == clinic
        with pytest.raises(TenantRequired):
            connection.execute(select(table.c.id).where(table.c.email == SECRET))
    assert driver.values() == []


def test_each_set_of_many_is_sealed_for_its_own_tenant(driver: Driver, table: Table) -> None:
    where = table.c.email == bindparam("e"), table.c.clinic == bindparam("c")
    sets = [{"e": SECRET, "c": "acme", "n": 7}, {"e": SECRET, "c": "globex", "n": 8}]
    with driver.engine.begin() as connection:
        connection.execute(update(table).where(*where).values(code=bindparam("n")), sets)
        assert connection.execute(select(table.c.code).order_by(table.c.id)).all() == [(7,), (None,), (8,)]
        assert [driver.vault.owner(one) for one in driver.values() if isinstance(one, bytes)] == [
            "acme",
            "globex",
        ]
        connection.execute(
            delete(table).where(*where), [{"e": OTHER, "c": "acme"}, {"e": OTHER, "c": "globex"}]
        )
        assert connection.scalar(select(func.count()).select_from(table)) == 2
    assert not {SECRET, OTHER}.intersection(driver.values())
    assert sets[0] == {"e": SECRET, "c": "acme", "n": 7}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_a_driver_that_gets_an_unsealed_value_names_its_column(
    driver: Driver, table: Table, many: bool, named: bool
) -> None:
    value = Unsealed(table.c.email.type.sealed_column, SECRET)
    sql = f"UPDATE patients SET code = 1 WHERE email = {':e' if named else '?'}"
    one: Any = {"e": value} if named else (value,)
    with (
        driver.engine.connect() as connection,
        pytest.raises(UnsupportedOperation, match=r"patients\.email did not pass through") as caught,
    ):
        connection.exec_driver_sql(sql, [one, one] if many else one)
    assert shows(told(caught.value)) == [] and SECRET not in repr(value) + str(value)


def test_a_value_that_a_listener_takes_past_the_hooks_is_refused_and_named(
    driver: Driver, table: Table
) -> None:
    def take_back(connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> Any:
        compiled = context.compiled
        if compiled is not None:
            parameters = compiled.construct_params({"e": Unsealed(table.c.email.type.sealed_column, SECRET)})
            parameters = parameters if driver.engine.dialect.paramstyle == "named" else (parameters["e"],)
        return sql, parameters

    event.listen(driver.engine, "before_cursor_execute", take_back, retval=True)
    with (
        tenant_scope("acme"),
        driver.engine.connect() as connection,
        pytest.raises(UnsupportedOperation, match=r"patients\.email did not pass through") as caught,
    ):
        connection.execute(select(table.c.id).where(table.c.email == bindparam("e")), {"e": SECRET})
    assert shows(told(caught.value)) == []


def failures(table: Table) -> dict[str, tuple[type[Exception], Any, Any]]:
    email, e, n = table.c.email, bindparam("e"), bindparam("n", type_=Integer)
    row = {"clinic": "acme", "ssn": SECRET, "email": SECRET}
    gone = text("no_such_column")
    return {
        "unique": (IntegrityError, insert(table), row),
        "unique in bulk": (IntegrityError, insert(table), [row, {**row, "email": OTHER}]),
        "unique in rows of values": (IntegrityError, insert(table).values([row, row]), {}),
        "unique by an update": (
            IntegrityError,
            update(table).where(table.c.clinic == "acme").values(email=SECRET),
            {},
        ),
        "a named value missing": (
            StatementError,
            select(email).where(email == e, table.c.id == n),
            {"e": SECRET},
        ),
        "missing beside a written value": (
            StatementError,
            update(table).values(ssn=bindparam("s")).where(table.c.clinic == "acme", table.c.code == n),
            {"s": SECRET},
        ),
        "missing beside a new row": (StatementError, insert(table).values(code=n), row),
        "an error of the database": (DBAPIError, select(email).where(email == e, gone), {"e": SECRET}),
        "of the database for a list": (DBAPIError, select(email).where(email.in_([SECRET]), gone), {}),
        "of the database for a write": (
            DBAPIError,
            update(table).values(ssn=SECRET, email=OTHER).where(table.c.clinic == "acme", gone),
            {},
        ),
        "of the database for many": (
            DBAPIError,
            delete(table).where(email == e, gone),
            [{"e": SECRET}, {"e": OTHER}],
        ),
        "a value of another type": (InvalidValue, select(email).where(email == e), {"e": [SECRET]}),
        "a value that is too long": (InvalidValue, select(email).where(email == SECRET * 9), {}),
    }


def test_no_error_shows_a_value_or_what_marks_it_for_sealed(driver: Driver, table: Table) -> None:
    for name, (expected, statement, given) in failures(table).items():
        with tenant_scope("acme"), driver.engine.connect() as connection:
            with pytest.raises(expected) as caught:
                connection.execute(statement, given)
            assert shows(told(caught.value)) == [], name
            for shown in (getattr(caught.value, "params", None), getattr(caught.value, "args", None)):
                assert shows(repr(shown)) == [], name


def test_a_value_that_the_library_has_sealed_is_sent_as_it_is(driver: Driver, table: Table) -> None:
    sealed = ColumnWriter(table.c.email.type.sealed_column, driver.vault.keyring.keys).seal(SECRET, "acme")
    assert is_presealed(sealed) and len(PREFIX) == PREFIX_BYTES
    with tenant_scope("acme"), driver.engine.connect() as connection:
        assert connection.scalars(select(table.c.id).where(table.c.email == sealed)).all() == [1]
    assert [value for value in driver.values() if isinstance(value, bytes)] == [sealed[PREFIX_BYTES:]]


def test_comparing_for_a_tenant_who_has_no_key_finds_nothing_and_makes_none(
    driver: Driver, table: Table
) -> None:
    held = driver.vault.raw("SELECT tenant, purpose FROM cmk_deks ORDER BY 1, 2")
    misspelled = select(table.c.id).where(table.c.clinic == "acmee", table.c.email == SECRET)
    with driver.engine.connect() as connection:
        assert connection.scalars(misspelled).all() == []
    assert driver.vault.raw("SELECT tenant, purpose FROM cmk_deks ORDER BY 1, 2") == held
    assert SECRET not in driver.values()


def test_a_parameter_for_a_sealed_and_a_plain_column_is_refused_before_it_is_sent(
    driver: Driver, table: Table
) -> None:
    either = select(table.c.id).where((table.c.email == bindparam("e")) | (table.c.clinic == bindparam("e")))
    with (
        tenant_scope("acme"),
        driver.engine.connect() as connection,
        pytest.raises(UnsupportedOperation, match="give each a name of its own"),
    ):
        connection.execute(either, {"e": SECRET})
    assert driver.values() == []
