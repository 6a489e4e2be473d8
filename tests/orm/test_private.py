"""What orm/private.py takes from SQLAlchemy without a public way; tests fail when a release changes it."""

import inspect as python_inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    desc,
    event,
    func,
    insert,
    inspect,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine.cursor import CursorFetchStrategy, ResultFetchStrategy
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Mapped, deferred, mapped_column

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.orm import private
from sqlalchemy_cmk.orm.fetch import CheckedFetch
from sqlalchemy_cmk.processor import OPENS
from tests.orm.conftest import Vault

table = Table("t", MetaData(), Column("a", Integer, primary_key=True), Column("b", String(9)))
a, b = table.c
UPSERTS: dict[str, Any] = {
    "postgresql": postgresql.insert(table).on_conflict_do_update(index_elements=["a"], set_={"b": "new"}),
    "sqlite": sqlite.insert(table).on_conflict_do_update(index_elements=["a"], set_={"b": "new"}),
    "mysql": mysql.insert(table).on_duplicate_key_update(b="new"),
    "mysql, a list": mysql.insert(table).on_duplicate_key_update([("b", "new")]),
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'rows'}")
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), [{"a": n, "b": f"row {n}"} for n in (1, 2, 3)])
    yield engine
    engine.dispose()


def plain(values: dict[Any, Any]) -> dict[Any, Any]:
    return {key: value.value for key, value in values.items()}


def rows(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(a, b).order_by(a))]


def test_single_values_are_those_of_insert_and_update_by_the_keys_given() -> None:
    assert plain(private.single_values(insert(table).values(a=1, b="x"))) == {"a": 1, "b": "x"}
    assert plain(private.single_values(insert(table).values({b: "x"}))) == {b: "x"}
    assert plain(private.single_values(update(table).values(b="x"))) == {"b": "x"}
    ordered = update(table).ordered_values((b, "x"), ("a", 1))
    assert list(plain(private.single_values(ordered)).items()) == [(b, "x"), ("a", 1)]
    assert private.single_values(insert(table)) == {} == private.single_values(update(table))
    assert private.single_values(insert(table).values([{"a": 1}])) == {}


def test_multi_values_are_the_rows_of_every_call_of_values() -> None:
    statement = insert(table).values([{"a": 1}, {"a": 2}]).values([{"a": 3}])
    assert private.multi_values(statement) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert private.multi_values(insert(table).values([(1, "x")])) == [(1, "x")]
    assert private.multi_values(insert(table).values(a=1)) == []


def test_with_multi_values_changes_what_a_copy_inserts(engine: Engine) -> None:
    statement = insert(table).values([{"a": 4, "b": "old"}]).values([{"a": 5, "b": "old"}])
    changed = private.with_multi_values(statement, [{"a": 6, "b": "new"}, {"a": 7, "b": "new"}])
    with engine.begin() as connection:
        connection.execute(changed)
        connection.execute(statement)
    assert rows(engine)[3:] == [(4, "old"), (5, "old"), (6, "new"), (7, "new")]


def test_with_single_values_changes_what_a_copy_writes(engine: Engine) -> None:
    statement = insert(table).values(a=4, b="old")
    changed = private.with_single_values(statement, {"b": bindparam(None, "new", unique=True)})
    again = private.with_single_values(update(table).where(a == 1).values({b: "old"}), {b: _new()})
    with engine.begin() as connection:
        connection.execute(changed)
        connection.execute(again)
    assert rows(engine)[0] == (1, "new") and rows(engine)[3] == (4, "new")
    assert plain(private.single_values(statement)) == {"a": 4, "b": "old"}


def test_with_single_values_keeps_an_order_that_was_given() -> None:
    statement = update(table).ordered_values((b, "old"), (a, 1))
    changed = private.with_single_values(statement, {b: _new()})
    assert str(changed) == str(statement) == "UPDATE t SET b=:b, a=:a"
    assert changed.compile().params == {"b": "new", "a": 1}
    assert statement.compile().params == {"b": "old", "a": 1}


def _new() -> Any:
    return bindparam(None, "new", unique=True)


@pytest.mark.parametrize("kind", UPSERTS)
def test_upsert_clause_holds_what_a_conflict_sets(kind: str) -> None:
    clause = private.upsert_clause(UPSERTS[kind])
    held = clause.update if "mysql" in kind else clause.update_values_to_set
    ((key, value),) = dict(held).items()
    assert (key, getattr(value, "value", value)) == ("b", "new")
    if "mysql" not in kind:
        assert clause.update_whereclause is None
    assert private.upsert_clause(insert(table)) is None


def test_with_upsert_clause_changes_what_a_copy_does_on_a_conflict(engine: Engine) -> None:
    def upsert(new: str) -> Any:
        return sqlite.insert(table).on_conflict_do_update(index_elements=["a"], set_={"b": new})

    statement = upsert("theirs")
    changed = private.with_upsert_clause(statement, private.upsert_clause(upsert("ours")))
    with engine.begin() as connection:
        connection.execute(changed, {"a": 1, "b": ""})
        connection.execute(statement, {"a": 2, "b": ""})
    assert rows(engine)[:2] == [(1, "ours"), (2, "theirs")]


def test_is_from_select_tells_which_insert_reads_its_rows() -> None:
    assert private.is_from_select(insert(table).from_select(["a"], select(a)))
    assert not private.is_from_select(insert(table).values(a=1))
    assert not private.is_from_select(insert(table).values([{"a": 1}]))


def test_ordering_is_the_order_by_of_selects_and_unions() -> None:
    assert list(private.ordering(select(table).order_by(b, a))) == [b, a]
    assert list(private.ordering(union_all(select(a), select(a)).order_by(a))) == [a]
    assert list(private.ordering(select(table))) == [] == list(private.ordering(text("SELECT 1")))


@pytest.mark.parametrize("statement", [select(a, b), union_all(select(a, b), select(a, b))])
@pytest.mark.parametrize("order", ["a", desc("a")])
def test_ordering_by_a_name_is_by_the_column_that_has_it(statement: Any, order: Any) -> None:
    found = [getattr(one, "name", None) for one in private.ordering(statement.order_by(order))]
    assert "a" in found and "b" not in found


def test_grouping_is_the_group_by_and_what_distinct_compares() -> None:
    assert list(private.grouping(select(a).group_by(b, a))) == [b, a]
    assert list(private.grouping(select(a, b).distinct())) == [a, b]
    assert list(private.grouping(select(a).distinct().group_by(b))) == [b, a]
    assert list(private.grouping(union_all(select(a), select(a)).group_by(a))) == [a]
    assert list(private.grouping(select(a, b))) == []


@pytest.mark.parametrize("dialect", [None, sqlite.dialect(), postgresql.dialect(), mysql.dialect()])
def test_result_columns_are_the_objects_and_types_in_order(dialect: Any) -> None:
    alias = table.alias()
    found = private.result_columns(select(b, func.count(a), alias.c.b).compile(dialect=dialect))
    assert [type(type_) for _, type_ in found] == [String, Integer, String]
    assert b in found[0][0] and found[0][1] is b.type
    assert alias.c.b in found[2][0] and b not in found[2][0]


def test_result_columns_of_returning_and_of_statements_without_a_result() -> None:
    returning = insert(table).returning(b).compile(dialect=postgresql.dialect())
    (((*objects,), type_),) = private.result_columns(returning)
    assert b in objects and type_ is b.type
    typed = text("SELECT b FROM t").columns(b).compile()
    assert [b in objects for objects, _ in private.result_columns(typed)] == [True]
    assert list(private.result_columns(insert(table).compile())) == []


def test_sealed_processors_are_those_of_a_rows_columns(make_vault: Any) -> None:
    vault = make_vault()
    model = declared(vault)
    with vault.session() as session:
        session.add(model(value="open", late="late"))
        session.commit()
    for columns, sealed in (
        ((model.id, model.value), [False, True]),
        ((model.value, model.id, model.late), [True, False, True]),
        ((model.id,), [False]),
    ):
        with vault.engine.connect() as connection:
            row = connection.execute(select(*columns)).one()
        assert [getattr(one, OPENS, False) for one in private.sealed_processors(row)] == sealed
    assert list(private.sealed_processors((1, 2))) == []


def test_buffer_rows_reads_a_result_to_its_end_and_gives_it_out_as_before(engine: Engine) -> None:
    with engine.connect() as connection:
        result = connection.execute(select(a).order_by(a))
        assert result.fetchone() == (1,)
        cursor, strategy = result.cursor, private.buffer_rows(result)
        assert strategy is not None and cursor is not None and cursor.fetchall() == []
        result.cursor_strategy = strategy
        assert result.fetchmany(1) == [(2,)] and result.all() == [(3,)]


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


def test_buffered_rows_gives_what_was_read(engine: Engine) -> None:
    with engine.connect() as connection:
        result = connection.execute(select(a).order_by(a))
        buffered = private.buffer_rows(result)
        assert buffered is not None
        assert [tuple(row) for row in private.buffered_rows(buffered)] == [(1,), (2,), (3,)]


def test_buffered_rows_are_those_that_were_not_given_out_before(engine: Engine) -> None:
    with engine.connect() as connection:
        result = connection.execute(select(a, b).order_by(a))
        result.fetchone()
        strategy = private.buffer_rows(result)
        assert strategy is not None
        assert private.buffered_rows(strategy) == [(2, "row 2"), (3, "row 3")]
        result.cursor_strategy = strategy
        assert len(result.all()) == 2


def test_buffer_rows_leaves_streams_and_results_without_rows_alone(engine: Engine) -> None:
    with engine.connect() as connection:
        stream = connection.execute(select(a).order_by(a).execution_options(yield_per=2))
        assert private.buffer_rows(stream) is None and stream.scalars().all() == [1, 2, 3]
        assert private.buffer_rows(connection.execute(update(table).values(b="x"))) is None


async def test_buffer_rows_knows_the_result_of_an_async_driver(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'rows'}")

    def read(connection: Any) -> Any:
        result = connection.execute(text("SELECT 1 UNION SELECT 2 ORDER BY 1"))
        assert type(result.cursor_strategy) is CursorFetchStrategy
        result.cursor_strategy = private.buffer_rows(result)
        return result.scalars().all()

    async with engine.connect() as connection:
        assert await connection.run_sync(read) == [1, 2]
    await engine.dispose()


def test_refreshed_state_is_the_instance_whose_columns_are_loaded(make_vault: Any) -> None:
    vault = make_vault()
    model = declared(vault)
    with vault.session() as session:
        session.add(model(value="v", late="late"))
        session.commit()
        seen: list[Any] = []
        event.listen(session, "do_orm_execute", lambda one: seen.append(private.refreshed_state(one)))
        (found,) = session.scalars(select(model))
        assert found.late == "late"
        session.refresh(found)
        session.expire(found, ["value"])
        assert found.value == "v"
        assert seen == [None, inspect(found), inspect(found), inspect(found)]


def declared(vault: Vault) -> Any:
    class Thing(vault.base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        value: Mapped[str] = mapped_column(EncryptedType(String(9)))
        late: Mapped[str] = deferred(mapped_column(EncryptedType(String(9))))

    vault.create()
    return Thing


def test_raw_rows_are_those_of_the_driver_and_end_the_result() -> None:
    with create_engine("sqlite://").connect() as connection:
        result = connection.execute(select(text("1"), text("'x'")))
        assert list(private.raw_rows(result)) == [(1, "x")] and result.closed
        assert connection.execute(select(text("2"))).scalar_one() == 2


def test_a_checked_fetch_passes_on_all_that_a_strategy_can_do() -> None:
    upstream = {name for name in vars(ResultFetchStrategy) if not name.startswith("__")}
    assert upstream <= set(vars(CheckedFetch))
    for name in upstream - {"alternate_cursor_description"}:
        ours, theirs = (
            list(python_inspect.signature(getattr(one, name)).parameters)
            for one in (CheckedFetch, ResultFetchStrategy)
        )
        assert ours == theirs, name


def functions() -> list[str]:
    found = python_inspect.getmembers(private, python_inspect.isfunction)
    return [name for name, one in found if one.__module__ == private.__name__]


@pytest.mark.parametrize("name", functions())
def test_every_function_over_a_private_name_is_watched_here(name: str) -> None:
    assert any(test.startswith(f"test_{name}_") for test in globals())
