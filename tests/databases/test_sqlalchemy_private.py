"""What sqlalchemy_private takes from statements without a public way; a changed release fails here."""

import inspect as python_inspect
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import (
    CHAR,
    BindParameter,
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    TypeDecorator,
    bindparam,
    create_engine,
    desc,
    event,
    func,
    insert,
    insert_sentinel,
    inspect,
    lambda_stmt,
    literal,
    literal_column,
    select,
    text,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    deferred,
    foreign,
    mapped_column,
    relationship,
    remote,
    subqueryload,
    with_parent,
)
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.expression import Join
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.util import greenlet_spawn

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.databases.sqlalchemy_private import parameters, results, statements
from sqlalchemy_cmk.runtime.blocking import off_the_loop, on_the_bridge
from tests.databases import test_sqlalchemy_rechecked, test_sqlalchemy_results
from tests.support.vault import Vault

table = Table("t", MetaData(), Column("a", Integer, primary_key=True), Column("b", String(9)))
a, b = table.c
UPSERTS: dict[str, Any] = {
    "postgresql": postgresql.insert(table).on_conflict_do_update(index_elements=["a"], set_={"b": "new"}),
    "sqlite": sqlite.insert(table).on_conflict_do_update(index_elements=["a"], set_={"b": "new"}),
    "mysql": mysql.insert(table).on_duplicate_key_update(b="new"),
    "mysql, a list": mysql.insert(table).on_duplicate_key_update([("b", "new")]),
}


class Base(DeclarativeBase): ...


class Node(Base):
    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    children = relationship("Node")


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
    added = private.with_single_values(update(table).ordered_values((b, "old")), {"a": _new()})
    assert str(added) == "UPDATE t SET b=:b, a=:a"


def _new() -> Any:
    return bindparam(None, "new", unique=True)


@pytest.mark.parametrize("kind", UPSERTS)
def test_upsert_assignments_are_what_a_conflict_sets(kind: str) -> None:
    ((key, value),) = private.upsert_assignments(UPSERTS[kind]) or []
    assert (key, getattr(value, "value", value)) == ("b", "new")
    assert private.upsert_clause(UPSERTS[kind]) is not None
    assert private.upsert_assignments(insert(table)) is None


def test_upsert_clause_may_set_nothing() -> None:
    nothing = sqlite.insert(table).on_conflict_do_nothing()
    assert private.upsert_clause(nothing) is not None and private.upsert_assignments(nothing) is None
    assert private.upsert_clause(insert(table)) is None


@pytest.mark.parametrize("kind", UPSERTS)
def test_upsert_targets_are_the_columns_of_the_conflict(kind: str) -> None:
    assert private.upsert_targets(UPSERTS[kind]) == (set() if "mysql" in kind else {"a"})
    assert private.upsert_targets(insert(table)) == set()


@pytest.mark.parametrize("dialect", [postgresql, sqlite])
def test_upsert_targets_are_found_in_names_columns_and_expressions(dialect: Any) -> None:
    elements = ["other", a, func.lower(b)]
    upsert = dialect.insert(table).on_conflict_do_nothing(index_elements=elements)
    assert {"other", "a", "b"} <= private.upsert_targets(upsert)


@pytest.mark.parametrize("dialect", [sqlite, postgresql])
def test_upsert_targets_are_the_columns_that_may_conflict(dialect: Any) -> None:
    def targets(*elements: Any) -> set[str]:
        statement = dialect.insert(keyed).on_conflict_do_update(index_elements=elements, set_={"n": 1})
        return private.upsert_targets(statement)

    keyed = Table("k", MetaData(), Column("name", String, key="key"), Column("n", Integer))
    assert targets("name", "n") == {"name", "n"}
    assert {"name", "key"} <= targets(keyed.c.key) and "n" not in targets(keyed.c.key)
    assert {"name", "key"} <= targets(func.lower(keyed.c.key))
    assert private.upsert_targets(UPSERTS["mysql"]) == set() == private.upsert_targets(insert(table))


@pytest.mark.parametrize("kind", UPSERTS)
def test_upsert_takes_condition_in_on_conflict_only(kind: str) -> None:
    assert private.upsert_takes_condition(UPSERTS[kind]) is ("mysql" not in kind)
    assert not private.upsert_takes_condition(insert(table))


@pytest.mark.parametrize("kind", UPSERTS)
def test_with_upsert_changes_the_text_of_a_copy(kind: str) -> None:
    dialect = {"postgresql": postgresql, "sqlite": sqlite}.get(kind, mysql).dialect()
    before = str(UPSERTS[kind].compile(dialect=dialect))
    condition = a > 0 if private.upsert_takes_condition(UPSERTS[kind]) else None
    changed = private.with_upsert(UPSERTS[kind], [("b", text("'ours'"))], condition)
    written = str(changed.compile(dialect=dialect))
    assert "b = 'ours'" in written and ("WHERE t.a > " in written) is (condition is not None)
    assert str(UPSERTS[kind].compile(dialect=dialect)) == before


def test_with_upsert_changes_what_a_copy_does_on_a_conflict(engine: Engine) -> None:
    def upsert(new: str, **options: Any) -> Any:
        return sqlite.insert(table).on_conflict_do_update(index_elements=["a"], set_={"b": new}, **options)

    statement = upsert("theirs", where=a < 3)
    changed = private.with_upsert(statement, [("b", bindparam(None, "ours"))], a > 1)
    with engine.begin() as connection:
        for key in (1, 2, 3):
            connection.execute(changed, {"a": key, "b": ""})
        connection.execute(statement, {"a": 1, "b": ""})
    assert rows(engine) == [(1, "theirs"), (2, "ours"), (3, "row 3")]


def test_is_from_select_tells_which_insert_reads_its_rows() -> None:
    assert private.is_from_select(insert(table).from_select(["a"], select(a)))
    assert not private.is_from_select(insert(table).values(a=1))
    assert not private.is_from_select(insert(table).values([{"a": 1}]))


def test_ordering_is_the_order_by_of_selects_and_unions() -> None:
    assert list(private.ordering(select(table).order_by(b, a))) == [b, a]
    assert list(private.ordering(union_all(select(a), select(a)).order_by(a))) == [a]
    assert list(private.ordering(select(table))) == []


def test_grouping_is_the_group_by_of_selects_and_unions() -> None:
    assert list(private.grouping(select(a).group_by(b, a))) == [b, a]
    assert list(private.grouping(union_all(select(a), select(a)).group_by(a))) == [a]
    assert list(private.grouping(select(a, b).distinct())) == []


def distinct_on(statement: Any, *columns: Any) -> Any:
    clause = getattr(postgresql, "distinct_on", None)
    return statement.distinct(*columns) if clause is None else statement.ext(clause(*columns))


def test_distinct_on_is_found_on_the_select_or_its_clause() -> None:
    statement = distinct_on(select(a, b), b, "a")
    holders = [statement, *(one for one in iterate(statement) if type(one) is private.DISTINCT_ON)]
    found = [private.distinct_on(one) for one in holders]
    assert [len(one) for one in found if one] == [2] and [one[0] for one in found if one] == [b]
    assert private.distinct_on(select(a)) == () == private.distinct_on(union_all(select(a), select(a)))


def test_is_distinct_tells_distinct_rows_from_one_row_for_each_value() -> None:
    assert private.is_distinct(select(a).distinct()) and not private.is_distinct(select(a))
    assert not private.is_distinct(distinct_on(select(a, b), b))


def test_raw_columns_are_what_was_selected() -> None:
    assert list(private.raw_columns(select(a, table))) == [a, table]
    (name,) = private.raw_columns(select(text("x")))
    assert str(name) == "x" and private.raw_columns(union_all(select(a), select(a))) == ()


def test_returned_is_the_returning_clause_with_what_is_added() -> None:
    assert list(private.returned(insert(table).returning(b, a))) == [b, a]
    assert list(private.returned(update(table).values(b="x"))) == []
    assert b in list(private.returned(update(table).values(b="x").return_defaults(b)))
    both = insert(table).returning(b).return_defaults(a, supplemental_cols=[b])
    assert {a, b} <= set(private.returned(both))


def test_insert_names_are_the_columns_that_a_select_fills() -> None:
    assert list(private.insert_names(insert(table).from_select(["a", "b"], select(a, b)))) == ["a", "b"]
    assert private.insert_names(insert(table)) == ()


@pytest.mark.parametrize("order", ["a", desc("a")])
def test_text_of_names_text_and_literal_columns_is_what_was_given(order: Any) -> None:
    (element,) = private.ordering(select(a).order_by(order))
    assert "a" in [private.text_of(one) for one in iterate(element)]
    assert any(type(one) is private.NAME_REFERENCE for one in iterate(element))
    assert private.text_of(text("b DESC")) == "b DESC" and private.text_of(literal_column("x")) == "x"
    assert private.text_of(a) is None and private.text_of(func.count(a)) is None


def test_label_references_stand_for_labels_in_an_order_by() -> None:
    label = a.label("x")
    (element,) = private.ordering(select(label).order_by(label))
    assert type(element) is private.LABEL_REFERENCE and element.element is label


def test_is_rewritten_tells_what_the_orm_or_a_join_makes_of_a_select(make_vault: Any) -> None:
    model = declared(make_vault())
    other = table.alias()
    for statement in (select(model), update(model).values(late="x"), select(a).join(other, other.c.a == a)):
        assert private.is_rewritten(statement), statement
    for element in (select(a), insert(table), a, table, model.__table__.c.id, text("x")):
        assert not private.is_rewritten(element), element


def test_core_statements_are_those_that_are_compiled(make_vault: Any) -> None:
    vault = make_vault()
    model = declared(vault)
    model.upper = column_property(func.upper(model.id))
    nested = select(select(model).where(model.id > 5).subquery().c.id)
    for statement in (select(model), nested):
        found = private.core_statements(statement.compile(vault.engine))
        assert any(getattr(part, "name", "") == "upper" for one in found for part in iterate(one))
    other = table.alias()
    joined = select(a).join(other, other.c.a == b)
    found = private.core_statements(joined.compile(vault.engine))
    assert any(isinstance(one, Join) and other.c.a in iterate(one.onclause) for one in found)
    assert private.core_statements(CreateTable(table).compile(vault.engine)) == []


def test_whole_statements_are_what_was_given_and_what_is_compiled(make_vault: Any) -> None:
    vault = make_vault()
    model = declared(vault)
    for statement in (select(model), insert(model), update(model).values(late="x"), select(a)):
        compiled = statement.compile(vault.engine)
        found = private.whole_statements(compiled)
        assert found[0] is statement and compiled.compile_state.statement in found[1:]


async def test_the_bridge_is_known_from_inside_and_lets_the_loop_go_on() -> None:
    """For runtime/blocking.py, which lies below and has the two functions of the bridge itself."""
    main = threading.get_ident()

    def blocking() -> tuple[bool, bool]:
        return on_the_bridge(), off_the_loop(threading.get_ident) == main

    assert await greenlet_spawn(blocking) == (True, False)
    assert blocking() == (False, True)


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


def test_is_sorted_by_key_tells_which_rows_would_be_matched_by_sealed_keys() -> None:
    def keyed(*more: Any) -> Any:
        return Table("k", MetaData(), Column("key", EncryptedType(String(9)), primary_key=True), *more)

    def sorted_by_key(one: Any) -> bool:
        statement = insert(one).returning(*one.c, sort_by_parameter_order=True)
        return private.is_sorted_by_key(statement)

    assert sorted_by_key(keyed())
    assert not sorted_by_key(table)
    assert not sorted_by_key(keyed(insert_sentinel("sentinel")))
    assert not private.is_sorted_by_key(insert(keyed()).returning(keyed().c.key))
    assert not private.is_sorted_by_key(insert(keyed()))


def test_bulk_persists_is_the_unit_of_works_own_statement_only(tmp_path: Path) -> None:
    base: Any = type("Base", (DeclarativeBase,), {})

    class Thing(base):
        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True)
        value: Mapped[str]

    engine, seen = create_engine(f"sqlite:///{tmp_path / 'things'}"), []
    base.metadata.create_all(engine)
    event.listen(engine, "before_execute", lambda *given: seen.append(private.bulk_persists(given[4])))
    with Session(engine) as session:
        session.add(Thing(id=1, value="x"))
        session.flush()
        (found,) = session.scalars(select(Thing))
        found.value = "y"
        session.flush()
        session.execute(insert(Thing), [{"value": "a"}, {"value": "b"}])
        session.execute(update(Thing).values(value="c"))
        session.delete(found)
        session.flush()
    assert seen == [True, False, True, False, False, True]
    seen.clear()
    for cache in ({}, None):  # an application may give its own, and keeps its rows
        with engine.connect().execution_options(compiled_cache=cache) as connection:
            connection.execute(insert(Thing.__table__), [{"value": "a"}])
    assert seen == [False, False]
    engine.dispose()


def test_parameter_name_is_that_of_the_compiled_statement_or_of_a_copy() -> None:
    statement = select(table).where(a == 1, b == bindparam("wanted"))
    compiled = statement.compile()
    found = [one for one in iterate(statement) if isinstance(one, BindParameter)]
    assert {private.parameter_name(compiled, one) for one in found} == {"a_1", "wanted"}
    copies = [one._clone(maintain_key=True) for one in found]
    assert {private.parameter_name(compiled, one) for one in copies} == {
        "a_1",
        "wanted",
    }
    assert private.parameter_name(compiled, bindparam("another")) is None
    assert private.parameter_name(None, found[0]) is None


def test_parameter_value_is_that_of_each_set_before_its_type_binds_it(engine: Engine) -> None:
    class Bound(TypeDecorator[str]):
        impl = String
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Any) -> Any:
            return f"bound {value}"

    seen: list[Any] = []

    def note(connection: Any, cursor: Any, statement: Any, parameters: Any, context: Any, many: bool) -> None:
        names = [name for name in context.compiled.bind_names.values() if name != "key"]
        sets = range(len(context.compiled_parameters))
        seen.append([[private.parameter_value(context, name, row) for name in names] for row in sets])

    event.listen(engine, "before_cursor_execute", note)
    typed = type_coerce(b, Bound())
    with engine.begin() as connection:
        connection.execute(select(a).where(typed == "x"))
        changes = update(table).where(a == bindparam("key")).values(b=bindparam("new", type_=Bound()))
        connection.execute(changes, [{"key": 1, "new": "one"}, {"key": 2, "new": "two"}])
    assert seen == [[["x"]], [["one"], ["two"]]]
    assert rows(engine)[:2] == [(1, "bound one"), (2, "bound two")]


def test_retyped_parameters_keep_their_name_value_and_place_in_a_cache(engine: Engine) -> None:
    given = bindparam("given", 1, String())
    copied = private.retyped(given, Integer())
    assert (copied.key, copied.value, type(copied.type)) == ("given", 1, Integer)
    assert type(given.type) is String
    with engine.connect() as connection:
        for value in (1, 2):
            statement = select(private.retyped(bindparam(None, value, String()), Integer()))
            assert connection.execute(statement).scalar() == value


def test_leave_out_keeps_a_column_in_its_table_and_out_of_what_is_selected() -> None:
    hidden = Column("hidden", Integer)
    private.leave_out(hidden)
    with_hidden = Table("h", MetaData(), Column("a", Integer, primary_key=True), hidden)
    assert with_hidden.c.keys() == ["a", "hidden"]
    assert [one.name for one in select(with_hidden).selected_columns] == ["a"]
    assert "hidden" in str(select(with_hidden.c.hidden))


def test_written_parameters_are_those_that_columns_are_set_to() -> None:
    def written(statement: Any, **options: Any) -> set[str]:
        return {name for name, _ in private.written_parameters(statement.compile(**options))}

    assert written(insert(table)) == {"a", "b"}
    assert written(update(table).where(a == 1).values(b="x")) == {"b"}
    assert written(update(table).where(b == "x"), column_keys=["a"]) == {"a"}
    assert written(insert(table).values([{"b": "x"}, {"b": "y"}])) == {"b_m0", "b_m1"}
    ((name, bind),) = private.written_parameters(update(table).values(b="x").compile())
    assert (name, bind.type) == ("b", b.type)


class TakesContext:
    def __call__(self, context: Any) -> None: ...


class TakesNothing:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("default", "takes"),
    [
        (lambda context: None, True),
        (TakesContext(), True),
        (lambda: None, False),
        (TakesNothing(), False),
        (partial(lambda given: None, 1), False),
        (dict, False),
        (uuid4, False),
        ("a value", False),
        (func.now(), False),
        (Sequence("s"), False),
        (None, False),
    ],
)
def test_takes_context_tells_which_default_is_given_the_execution(default: Any, takes: bool) -> None:
    assert private.takes_context(Column("c", String, default=default).default) is takes


def functions() -> list[str]:
    found: set[str] = set()
    for module in (parameters, results, statements):
        own = python_inspect.getmembers(module, python_inspect.isfunction)
        found |= {name for name, one in own if one.__module__ == module.__name__ and name[0] != "_"}
    return sorted(found)


@pytest.mark.parametrize("name", functions())
def test_every_function_over_a_private_name_is_watched(name: str) -> None:
    watching = {*globals(), *vars(test_sqlalchemy_results), *vars(test_sqlalchemy_rechecked)}
    assert any(test.startswith(f"test_{name}_") for test in watching)
    assert name in private.__all__ and hasattr(private, name)


def test_variant_of_is_the_type_as_it_was_declared_for_a_dialect() -> None:
    variant = CHAR(5)
    type_ = String(5).with_variant(variant, "postgresql")
    assert private.variant_of(type_, postgresql.dialect()) is variant
    assert private.variant_of(type_, sqlite.dialect()) is type_
    assert private.variant_of(variant, sqlite.dialect()) is variant


@pytest.mark.parametrize("make", [select, update, lambda _: table.delete()])
def test_criteria_are_those_of_where(make: Any) -> None:
    statement = make(table).where(a == 1).where(b == "x")
    found = private.criteria(statement)
    assert [str(one) for one in found] == ["t.a = :a_1", "t.b = :b_1"]


@pytest.mark.parametrize("make", [select, update, lambda _: table.delete()])
def test_with_criteria_copies_a_statement(make: Any) -> None:
    statement = make(table).where(a == 1)
    changed = private.with_criteria(statement, [b == "y"])
    assert "t.a = " not in str(changed).split("WHERE")[1]
    assert [str(one) for one in private.criteria(statement)] == ["t.a = :a_1"]


def test_clauses_of_a_select_are_all_that_may_hold_another() -> None:
    made = [select(literal(n)).scalar_subquery() for n in range(7)]
    source = select(a).subquery()
    statement = select(made[0]).select_from(source).join(table, made[1] == a).where(made[2] == 1)
    statement = statement.having(made[3] == 1).group_by(made[4]).order_by(made[5])
    found = private.clauses_of(statement)
    held = {id(part) for one in found for part in iterate(one)}
    assert {id(one) for one in made[:6]} | {id(source)} <= held


def test_stand_for_gives_a_relationship_the_value_that_it_compares() -> None:
    owners = Table(
        "owners", Base.metadata, Column("id", Integer, primary_key=True), Column("shown", String(9))
    )

    class Owner(Base):
        __table__ = owners
        nodes = relationship(Node, primaryjoin=lambda: foreign(Node.name) == owners.c.hidden, uselist=True)

    owners.append_column(Column("hidden", String(9)))
    mapper = inspect(Owner)
    private.stand_for(mapper, mapper.get_property_by_column(owners.c.shown), owners.c.hidden)
    criterion = with_parent(Owner(id=1, shown="x"), Owner.nodes)
    assert list(criterion.compile().params.values()) == ["x"]


def test_load_without_subqueries_gives_the_same_and_ends_where_a_load_leads_to_itself() -> None:
    class Leaf(DeclarativeBase):
        pass

    class Tree(Leaf):
        __tablename__ = "trees"
        id: Mapped[int] = mapped_column(primary_key=True)
        above: Mapped[int | None] = mapped_column(ForeignKey("trees.id"))
        kind: Mapped[str]
        below = relationship("Tree", order_by="Tree.id")
        alike = relationship(
            "Tree",
            primaryjoin=lambda: Tree.kind == foreign(remote(Tree.kind)),
            viewonly=True,
            order_by="Tree.id",
        )

    Leaf.registry.configure()
    private.load_without_subqueries(inspect(Tree).relationships["alike"])
    engine, sent = create_engine("sqlite://"), list[str]()
    Leaf.metadata.create_all(engine)

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)
        assert len(sent) < 100

    with Session(engine) as session:
        trees = enumerate(((None, "b"), (1, "a"), (1, "b"), (2, "a")), 1)
        session.add_all(Tree(id=id_, above=above, kind=kind) for id_, (above, kind) in trees)
        session.commit()
        alike = subqueryload(Tree.alike)
        for option in (alike, subqueryload(Tree.below).subqueryload(Tree.alike).subqueryload(Tree.below)):
            session.expunge_all()
            found = session.scalars(select(Tree).options(option).order_by(Tree.id)).all()
            assert [[one.id for one in tree.alike] for tree in found] == [[1, 3], [2, 4]] * 2
        session.expunge_all()
        sent.clear()
        session.scalars(select(Tree).options(alike)).all()
        assert len(sent) == 2 and "IN (" in sent[1]


def test_is_aggregated_says_whether_an_aggregate_is_all_that_a_select_gives() -> None:
    plain = select(func.min(a)).where(b == "x")
    assert not private.is_aggregated(plain)
    for changed in (
        *(plain.group_by(b), plain.having(b == "x"), plain.distinct(), plain.limit(1), plain.offset(1)),
        *(plain.fetch(1), plain.with_for_update()),
    ):
        assert private.is_aggregated(changed)


def test_resolved_gives_what_a_lambda_stands_for_with_the_values_of_now() -> None:
    def asked(value: str) -> Any:
        return lambda_stmt(lambda: select(a).where(b == value))

    for value in ("x", "y"):
        found = private.resolved(asked(value))
        assert type(found) is type(select(a)) and list(found.compile().params.values()) == [value]
    (condition,) = private.criteria(select(a).where(lambda: b == "z"))
    assert private.resolved(condition).compare(b == "z")
    assert private.resolved(found) is found
    assert private.resolved(asked("x").spoil()).is_select


def test_is_temporary_says_how_a_table_is_declared() -> None:
    temporary = Table("x", MetaData(), Column("a", Integer), prefixes=["TEMPORARY"])
    assert private.is_temporary(temporary) and not private.is_temporary(table)
    assert "CREATE TEMPORARY TABLE" in str(CreateTable(temporary))


def test_held_params_are_given_by_the_statement_or_its_parameters() -> None:
    statement = select(a).where(a == bindparam("x", 1)).params(x=2)
    given = private.held_params(statement) or {one.key: one.value for one in _binds(statement)}
    assert given == {"x": 2}
    assert private.held_params(select(a)) == {}


def _binds(statement: Any) -> list[BindParameter[Any]]:
    return [one for one in iterate(statement) if isinstance(one, BindParameter)]


def test_correlates_by_itself_unless_it_is_told_what_to_take() -> None:
    assert private.correlates_by_itself(select(a))
    assert not private.correlates_by_itself(select(a).correlate(table))
    assert not private.correlates_by_itself(select(a).correlate(None))
    assert not private.correlates_by_itself(select(a).correlate_except(table))


def test_on_clauses_are_those_of_the_joins_of_a_select() -> None:
    other = table.alias("other")
    joined = select(Node).join(other, Node.id == other.c.a).join(Node.children)
    found = private.on_clauses(joined)
    assert [None if one is None else str(one) for one in found] == ["nodes.id = other.a", None]


def test_with_on_clauses_copies_a_select() -> None:
    other = table.alias("other")
    joined = select(a).join(other, a == other.c.a)
    assert "JOIN t AS other ON other.b = " in str(private.with_on_clauses(joined, [other.c.b == "x"]))
    assert "ON t.a = other.a" in str(joined) == str(private.with_on_clauses(joined, [None]))


def test_marked_like_takes_over_what_relationships_look_for() -> None:
    other = Table("other", MetaData(), Column("c", Integer))
    unmarked = private.marked_like(b, other.c.c)
    assert unmarked is b
    condition = private.marked_like(b, remote(foreign(other.c.c))) == a
    marks = condition.left._annotations
    assert (marks["remote"], marks["foreign"]) == (True, True)
    assert str(condition) == "t.b = t.a"
