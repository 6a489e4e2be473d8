"""What sqlalchemy_private takes from results without a public way; a changed release fails here."""

import inspect as python_inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    TypeDecorator,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine.cursor import ResultFetchStrategy
from sqlalchemy.ext.asyncio import create_async_engine

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from tests.support.vault import Vault


class Marked(TypeDecorator[str]):
    """Shows by brackets that a value went through its result processor."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return f"<{value}>"


table = Table("t", MetaData(), Column("a", Integer, primary_key=True), Column("b", Marked))
a, b = table.c
OPENED = [(1, "OPENED x"), (2, "OPENED y"), (3, "OPENED z")]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'rows'}")
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), [{"a": n, "b": v} for n, v in ((1, "x"), (2, "y"), (3, "z"))])
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


class Opener:
    """Opens raw rows as a fetch does, and notes how many it is given at once."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def __call__(self, rows: Sequence[Any]) -> list[Any]:
        self.given.append(len(rows))
        return [(row[0], f"OPENED {row[1]}") for row in rows]


TEXTS = {
    "text": text("SELECT b, a FROM t"),
    "text with names": text("SELECT b, a FROM t").columns(a=Integer, b=Marked),
    "text with columns": text("SELECT b, a FROM t").columns(b, a),
}


def test_result_processors_are_in_the_order_of_the_raw_rows(connection: Connection) -> None:
    for statement in (select(b, a), TEXTS["text with names"], TEXTS["text with columns"]):
        first, second = private.result_processors(connection.execute(statement))
        assert first("x") == "<x>" and second is None
    assert list(private.result_processors(connection.execute(TEXTS["text"]))) == [None, None]


def test_result_objects_are_what_each_column_of_the_raw_rows_stands_for(connection: Connection) -> None:
    alias = table.alias()
    beside = select(b, func.count(a), literal_column("1"), alias.c.b).where(alias.c.a == a)
    found = private.result_objects(connection.execute(beside))
    assert len(found) == 4 and b in found[0] and alias.c.b in found[3] and b not in found[3]
    typed = private.result_objects(connection.execute(TEXTS["text with columns"]))
    assert b in typed[0] and a in typed[1]
    named = private.result_objects(connection.execute(TEXTS["text with names"]))
    assert ["b" in named[0], "a" in named[1]] == [True, True]
    assert list(private.result_objects(connection.execute(TEXTS["text"]))) == [(), ()]


def test_is_positional_tells_results_whose_columns_were_compiled(connection: Connection) -> None:
    assert private.is_positional(connection.execute(select(b, a)))
    assert private.is_positional(connection.execute(TEXTS["text with columns"]))
    assert not private.is_positional(connection.execute(TEXTS["text with names"]))
    assert not private.is_positional(connection.execute(TEXTS["text"]))


@pytest.mark.parametrize("statement", [select(a, b), text("SELECT a, b FROM t").columns(a=Integer, b=Marked)])
def test_take_out_processors_leaves_the_names_and_other_results_alone(
    connection: Connection, statement: Any
) -> None:
    def result() -> Any:
        return connection.execute(statement)

    def without() -> Any:
        found = result()
        private.take_out_processors(found, (1,))
        return found

    assert result().all() == [(1, "<x>"), (2, "<y>"), (3, "<z>")]
    assert without().all() == [(1, "x"), (2, "y"), (3, "z")]
    assert without().first() == (1, "x") and without().fetchone() == (1, "x")
    assert without().scalars("b").all() == ["x", "y", "z"]
    assert without().mappings().first()["b"] == "x" == without().first().b
    if isinstance(statement, Select):
        assert without().mappings().first()[b] == "x"
    assert without().columns("b", "a").first() == ("x", 1)
    found = result()
    private.take_out_processors(found, (0,))
    assert found.all() == [(1, "<x>"), (2, "<y>"), (3, "<z>")] == result().all()


def test_replace_processors_has_values_made_by_others(connection: Connection) -> None:
    found = connection.execute(select(a, b))
    private.replace_processors(found, {1: lambda value: f"[{value}]"})
    assert found.first() == (1, "[x]")
    assert connection.execute(select(a, b)).first() == (1, "<x>")


def test_result_types_are_those_of_the_columns_in_their_order(connection: Connection) -> None:
    assert list(private.result_types(connection.execute(select(b, a)))) == [b.type, a.type]
    assert list(private.result_types(connection.execute(text("SELECT a FROM t")))) == []


@pytest.mark.parametrize("kind", [insert, update, delete])
@pytest.mark.parametrize("dialect", [postgresql.dialect(), sqlite.dialect()])
def test_returned_columns_are_the_objects_and_types_of_returning(kind: Any, dialect: Any) -> None:
    compiled = kind(table).returning(a, b.label("l")).compile(dialect=dialect)
    first, second = private.returned_columns(compiled)
    assert a in first[2] and first[3] is a.type
    assert second[3] is b.type and any(getattr(one, "element", None) is b for one in second[2])
    assert list(private.returned_columns(kind(table).compile(dialect=dialect))) == []
    assert list(private.returned_columns(select(a).compile(dialect=dialect))) == []
    assert list(private.returned_columns(text("SELECT 1").compile(dialect=dialect))) == []


def test_returned_columns_are_known_of_keys_that_sqlalchemy_asks_for_itself() -> None:
    def returned(dialect: Any) -> list[Any]:
        return [one[3] for one in private.returned_columns(insert(table).compile(dialect=dialect))]

    assert returned(mysql.dialect()) == []
    assert returned(postgresql.dialect()) == []
    by_default = insert(table).compile(dialect=postgresql.dialect(), column_keys=["b"])
    assert [one[3] for one in private.returned_columns(by_default)] == [a.type]


def inserted(engine: Engine, count: int, opener: Opener, replace: Callable[..., None], when: str) -> Any:
    """Insert and return rows, with what replaces them called for each statement."""
    batches: list[bool] = []

    def note(connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: bool) -> None:
        batches.append(private.is_in_batches(context))
        replace(context, opener)

    event.listen(engine, when, note)
    values = [{"a": 10 + n, "b": f"v{n}"} for n in range(count)]
    with engine.begin() as connection:
        statement = insert(table).returning(a, b)
        options = {"insertmanyvalues_page_size": 2}
        found = connection.execute(statement, values, execution_options=options).all()
    event.remove(engine, when, note)
    return batches, found


def test_is_in_batches_tells_which_insert_is_sent_in_several_statements(engine: Engine) -> None:
    def nothing(context: Any, opener: Opener) -> None: ...

    batches, found = inserted(engine, 5, Opener(), nothing, "before_cursor_execute")
    assert (batches, len(found)) == ([True] * 3, 5)
    seen: list[bool] = []

    def note(connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: bool) -> None:
        seen.append(private.is_in_batches(context))

    event.listen(engine, "before_cursor_execute", note)
    with engine.begin() as connection:
        connection.execute(insert(table).returning(a), {"b": "x"})
        connection.execute(insert(table), [{"b": "x"}, {"b": "y"}])
        connection.execute(select(a))
    assert seen == [False] * 3


def test_replace_batches_opens_all_rows_at_once_before_sqlalchemy_reads_them(engine: Engine) -> None:
    opener = Opener()
    batches, found = inserted(engine, 5, opener, private.replace_batches, "before_cursor_execute")
    assert batches == [True] * 3 and opener.given == [5]
    assert sorted(found) == [(10 + n, f"<OPENED v{n}>") for n in range(5)]


def test_replace_returned_opens_the_rows_at_the_cursor(engine: Engine) -> None:
    opener = Opener()

    def note(connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: bool) -> None:
        private.replace_returned(context, opener)

    event.listen(engine, "after_cursor_execute", note)
    with engine.begin() as connection:
        row = connection.execute(insert(table).values(a=10, b="v").returning(a, b)).one()
        assert row == (10, "<OPENED v>") == (row.a, row.b)
        changed = connection.execute(update(table).values(b="w").returning(a, b))
        assert changed.fetchmany(2) == [(1, "<OPENED w>"), (2, "<OPENED w>")] and len(changed.all()) == 2
        gone = connection.execute(delete(table).where(a == 10).returning(a, b))
        assert gone.one() == (10, "<OPENED w>")
        assert connection.execute(update(table).values(b="x")).rowcount == 3
    assert opener.given == [1, 4, 1]


def test_row_processors_are_those_of_a_rows_columns(connection: Connection) -> None:
    first, second = private.row_processors(connection.execute(select(b, a)).first())
    assert first("x") == "<x>" and second is None
    assert list(private.row_processors((1, 2))) == []


def test_row_types_are_known_of_rows_put_together_by_returning_too(tmp_path: Path) -> None:
    vault = Vault(f"sqlite:///{tmp_path}/t.db", tmp_path)
    sealed = Table("sealed", vault.base.metadata, Column("id", Integer, primary_key=True))
    sealed.append_column(Column("value", EncryptedType(String)))
    vault.create()
    with vault.engine.begin() as connection:
        statement = insert(sealed).returning(sealed.c.value, sort_by_parameter_order=True)
        rows = connection.execute(statement, [{"value": "1"}, {"value": "2"}]).all()
    assert all(any(isinstance(one, EncryptedType) for one in private.row_types(row)) for row in rows)
    assert list(private.row_types((1, 2))) == []
    vault.close()


def test_logged_row_is_that_of_echo_debug(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []
    engine = create_engine("sqlite://", echo="debug")
    logger = logging.getLogger("sqlalchemy.engine.Engine")
    note = Noting(seen)
    logger.addFilter(note)
    try:
        with engine.connect() as connection:
            row = connection.execute(select(text("1"), text("'x'"))).one()
    finally:
        logger.removeFilter(note)
        engine.dispose()
    assert [tuple(one) for one in map(private.logged_row, seen) if one is not None] == [tuple(row)]


class Noting(logging.Filter):
    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self.seen = seen

    def filter(self, record: logging.LogRecord) -> bool:
        self.seen += record.args if isinstance(record.args, tuple) else ()
        return False


def test_raw_rows_are_those_of_the_driver_and_end_the_result() -> None:
    with create_engine("sqlite://").connect() as connection:
        result = connection.execute(select(text("1"), text("'x'")))
        assert list(private.raw_rows(result)) == [(1, "x")] and result.closed
        assert connection.execute(select(text("2"))).scalar_one() == 2


@pytest.mark.parametrize("now", [False, True])
def test_open_fetched_opens_rows_however_they_are_fetched(connection: Connection, now: bool) -> None:
    def result(**options: Any) -> Any:
        found = connection.execute(select(a, b).order_by(a), execution_options=options)
        private.take_out_processors(found, (1,))
        private.open_fetched(found, Opener(), now=now)
        return found

    assert result().all() == OPENED == list(result())
    one = result()
    assert [one.fetchone(), *one.fetchmany(1), *one.fetchall()] == OPENED
    assert one.fetchone() is None
    assert result().first() == OPENED[0] and result().scalars("b").all() == [row[1] for row in OPENED]
    assert [part for part in result().partitions(2)] == [OPENED[:2], OPENED[2:]]
    assert list(result(yield_per=2)) == OPENED == list(result().yield_per(2))
    assert list(result(stream_results=True, max_row_buffer=2)) == OPENED
    assert result().freeze()().all() == OPENED
    closed = result()
    closed.close()
    assert closed.closed


def test_open_fetched_now_has_read_the_rows_before_they_are_asked_for(connection: Connection) -> None:
    for now, given in ((True, [3]), (False, [])):
        result, opener = connection.execute(select(a, b)), Opener()
        private.open_fetched(result, opener, now=now)
        assert opener.given == given
        assert len(result.all()) == 3 and opener.given == [3]


def test_open_fetched_reads_a_stream_in_parts(connection: Connection) -> None:
    result, opener = connection.execute(select(a, b), execution_options={"yield_per": 2}), Opener()
    private.open_fetched(result, opener, now=True)
    assert opener.given == []
    assert [len(part) for part in result.partitions()] == [2, 1] and opener.given[:2] == [2, 1]


async def test_open_fetched_knows_the_result_of_an_async_driver(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'rows'}")
    opener = Opener()

    def read(connection: Any) -> Any:
        result = connection.execute(text("SELECT 1, 'x' UNION SELECT 2, 'y' ORDER BY 1"))
        private.open_fetched(result, opener, now=True)
        assert opener.given == [2]
        return result.all()

    async with engine.connect() as connection:
        assert await connection.run_sync(read) == OPENED[:2]
    await engine.dispose()


def test_open_fetched_passes_on_all_that_a_strategy_can_do() -> None:
    upstream = {name for name in vars(ResultFetchStrategy) if not name.startswith("__")}
    assert upstream <= set(vars(private.OpeningFetch))
    for name in upstream - {"alternate_cursor_description"}:
        ours, theirs = (
            list(python_inspect.signature(getattr(one, name)).parameters)
            for one in (private.OpeningFetch, ResultFetchStrategy)
        )
        assert ours == theirs, name
