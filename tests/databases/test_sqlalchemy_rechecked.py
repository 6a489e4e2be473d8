"""What sqlalchemy_private takes to drop rows and to change a LIMIT; a changed release fails here."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    lambda_stmt,
    select,
    update,
)
from sqlalchemy.ext.asyncio import create_async_engine

from sqlalchemy_cmk.databases import sqlalchemy_private as private
from tests.support.databases import Database

table = Table("t", MetaData(), Column("a", Integer, primary_key=True), Column("b", String(9)))
a, b = table.c
EVEN = [(n, "OPENED") for n in range(2, 21, 2)]


def open_even(rows: Sequence[Any]) -> list[Any]:
    """Opens raw rows, and drops the odd ones."""
    return [(row[0], "OPENED") for row in rows if row[0] % 2 == 0]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path / 'rows'}")
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), [{"a": n, "b": "x"} for n in range(1, 21)])
        yield connection
    engine.dispose()


@pytest.mark.parametrize("now", [False, True])
@pytest.mark.parametrize(("offset", "limit"), [(0, None), (3, None), (0, 4), (3, 4), (9, 9), (99, 1), (2, 0)])
def test_drop_fetched_gives_what_stays_from_an_offset_up_to_a_limit(
    connection: Connection, now: bool, offset: int, limit: int | None
) -> None:
    def result(**options: Any) -> Any:
        found = connection.execute(select(a, b).order_by(a), execution_options=options)
        private.drop_fetched(found, open_even, offset=offset, limit=limit, now=now)
        return found

    expected = EVEN[offset : None if limit is None else offset + limit]
    assert result().all() == expected == list(result())
    one = result()
    singles = [row for row in (one.fetchone(), *one.fetchmany(2)) if row is not None]
    assert [*singles, *one.fetchall()] == expected
    assert one.fetchone() is None and one.fetchmany(3) == []
    assert result().first() == (expected[0] if expected else None)
    for options in ({"yield_per": 3}, {"stream_results": True, "max_row_buffer": 2}, {}):
        parts = list(result(**options).partitions(3))
        assert [row for part in parts for row in part] == expected
        assert [len(part) for part in parts[:-1]] == [3] * (len(parts) - 1)
    assert list(result().yield_per(2)) == expected
    closed = result()
    closed.close()
    assert closed.closed


def test_drop_fetched_stops_reading_a_stream_when_it_has_enough(connection: Connection) -> None:
    read: list[int] = []

    def note(rows: Sequence[Any]) -> list[Any]:
        read.extend(row[0] for row in rows)
        return open_even(rows)

    for fetch in ("fetchall", "fetchone"):
        read.clear()
        statement = select(a, b).order_by(a)
        result: Any = connection.execute(statement, execution_options={"stream_results": True})
        private.drop_fetched(result, note, offset=0, limit=2, now=True)
        assert [
            row[0] for row in (result.fetchall() if fetch == "fetchall" else iter(result.fetchone, None))
        ] == [2, 4]
        if fetch == "fetchone":
            assert max(read) == 4


def test_raw_page_takes_all_rows_and_hand_out_gives_others(connection: Connection) -> None:
    for options in ({}, {"yield_per": 2}):
        result = connection.execute(select(a, b).order_by(a), execution_options=options)
        assert [row[0] for row in private.raw_page(result)] == list(range(1, 21))
        private.hand_out(result, EVEN[:3])
        assert result.fetchone() == EVEN[0]
        assert result.all() == EVEN[1:3]


def test_hand_out_gives_rows_however_they_are_fetched(connection: Connection) -> None:
    def result() -> Any:
        found = connection.execute(select(a, b))
        private.raw_page(found)
        private.hand_out(found, EVEN)
        return found

    assert result().all() == EVEN == list(result()) == list(result().yield_per(2))
    assert result().first() == EVEN[0]
    assert [len(part) for part in result().partitions(6)] == [6, 4]


async def test_raw_page_and_drop_fetched_know_the_result_of_an_async_driver(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'rows'}")

    def read(connection: Any) -> Any:
        table.metadata.create_all(connection)
        connection.execute(insert(table), [{"a": n, "b": "x"} for n in range(1, 21)])
        dropped = connection.execute(select(a, b).order_by(a))
        private.drop_fetched(dropped, open_even, offset=1, limit=2, now=True)
        page = connection.execute(select(a).limit(3))
        assert list(private.raw_page(page)) == [(1,), (2,), (3,)]
        return dropped.all()

    async with engine.connect() as connection:
        assert await connection.run_sync(read) == EVEN[1:3]
    await engine.dispose()


def test_limits_are_the_parameters_of_limit_offset_and_fetch() -> None:
    def values(statement: Any) -> list[Any]:
        return [getattr(one, "value", one) for one in private.limits(statement)]

    assert values(select(a)) == [None, None]
    assert values(select(a).limit(3).offset(4)) == values(select(a).slice(4, 7)) == [3, 4]
    assert values(select(a).fetch(3).offset(4)) == [3, 4]
    assert (
        values(select(a).fetch(3, with_ties=True))[0] is values(select(a).fetch(3, percent=True))[0] is False
    )


def test_having_is_what_groups_have_to_meet() -> None:
    condition = func.count() > 1
    assert list(private.having(select(a).group_by(a).having(condition))) == [condition]
    assert list(private.having(select(a).group_by(a))) == []


def test_compiled_select_and_compiled_columns_are_those_that_are_sent() -> None:
    value = 1
    for statement in (
        select(a, b.label("c")),
        lambda_stmt(lambda: select(a, b.label("c")).where(a == value)),
    ):
        compiled = statement.compile()
        found = private.compiled_select(compiled)
        assert found is not None and [one.name for one in found.selected_columns] == ["a", "c"]
        columns = private.compiled_columns(compiled)
        assert [one[1] for one in columns] == ["a", "c"]
        assert a in columns[0][2] and columns[1][3] is b.type
    for other in (select(a).union(select(a)), update(table).values(b="x")):
        assert private.compiled_select(other.compile()) is None


def test_question_value_and_with_parameters_know_parameters_that_an_in_has_expanded(
    database: Database,
) -> None:
    engine = create_engine(database.url)
    with engine.connect() as connection:
        _check_parameters(connection)
    engine.dispose()


async def test_with_parameters_knows_the_numbers_of_an_async_driver(async_database: Database) -> None:
    engine = create_async_engine(async_database.async_url or "")
    async with engine.connect() as connection:
        await connection.run_sync(_check_parameters)
    await engine.dispose()


def _check_parameters(connection: Any) -> None:
    table.metadata.create_all(connection)
    connection.execute(insert(table), [{"a": n, "b": "x"} for n in range(1, 21)])
    noted: list[Any] = []

    @event.listens_for(connection, "before_cursor_execute", retval=True)
    def change(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> Any:
        noted.append([private.question_value(context, name) for name in ("few", "one", "lim")])
        return statement, private.with_parameters(context, parameters, {"lim": 4})

    few = bindparam("few", expanding=True)
    statement = select(a).where(a.in_(few), b == bindparam("one"), a.not_in([20])).order_by(a)
    statement = statement.limit(bindparam("lim", type_=Integer)).offset(0)
    for given in ([1, 2, 3, 4, 5], [6], [], list(range(7, 17))):
        found = connection.execute(statement, {"few": given, "one": "x", "lim": 2}).scalars().all()
        assert found == given[:4]
        assert noted.pop() == [given, "x", 2]
