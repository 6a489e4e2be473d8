"""Range and Ordered: comparisons against the same question on a plain twin."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Date,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    bindparam,
    lambda_stmt,
    select,
)

from sqlalchemy_cmk import ConfigurationError, EncryptedType, InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.search import Ordered, Range
from tests.search.twin import Twins
from tests.support.vault import Vault

DAY, CENT = dt.date(2000, 1, 1), Decimal("0.01")
LAST_DAY = DAY + dt.timedelta(100)
# Of each column: its type, its index, and the values of a question, some of which no row can hold.
COLUMNS: dict[str, tuple[Any, Any, Any]] = {
    "age": (Integer(), Range(0, 300), st.integers(-5, 305)),
    "visits": (Integer(), Range(-10, 53, arity=2), st.integers(-12, 55)),
    "born": (Date(), Range(DAY, LAST_DAY), st.dates(DAY - dt.timedelta(3), LAST_DAY + dt.timedelta(3))),
    "price": (
        Numeric(8, 2),
        Range(Decimal("-1"), Decimal("1"), CENT),
        st.decimals("-1.1", "1.1", allow_nan=False, places=3),
    ),
    "rank": (Integer(), Ordered(0, 300), st.integers(-5, 305)),
}
NUMBERS = [*range(0, 301, 7), 0, 1, 255, 256, 299, 300, 64, 63]


def rows() -> list[dict[str, Any]]:
    return [
        {
            "age": number,
            "visits": number % 64 - 10,
            "born": DAY + dt.timedelta(number % 101),
            "price": Decimal(number % 201 - 100) / 100,
            "rank": number,
        }
        for number in NUMBERS
    ] + [dict.fromkeys(COLUMNS)]


@pytest.fixture
def twins(vault: Vault) -> Iterator[Twins]:
    sealed = {key: EncryptedType(type_, index=[index]) for key, (type_, index, _) in COLUMNS.items()}
    twins = Twins(vault, sealed, {key: type_ for key, (type_, _, _) in COLUMNS.items()})
    twins.add(rows(), rows())
    yield twins
    twins.session.close()


COMPARISONS: list[Any] = [
    lambda c, x, y: c < x,
    lambda c, x, y: c <= x,
    lambda c, x, y: c > x,
    lambda c, x, y: c >= x,
    lambda c, x, y: c == x,
    lambda c, x, y: c != x,
    lambda c, x, y: c.in_([x, y]),
    lambda c, x, y: c.not_in([x, y]),
    lambda c, x, y: c.between(x, y),
    lambda c, x, y: ~c.between(x, y),
    lambda c, x, y: c.is_distinct_from(x),
    lambda c, x, y: (c < x) | ~(c >= y),
]


def test_comparisons_are_answered_as_in_plain_text(twins: Twins) -> None:
    values = st.one_of(
        st.tuples(st.just(key), st.sampled_from(range(len(COMPARISONS))), found, found)
        for key, (_, _, found) in COLUMNS.items()
    )

    def check(asked: Any) -> None:
        key, number, x, y = asked
        ours, theirs = (
            COMPARISONS[number](getattr(model, key), x, y) for model in (twins.Sealed, twins.Plain)
        )
        assert twins.sealed(ours) == twins.plain(theirs)

    twins.check_all(check, values, times=3)


def test_rows_come_in_order(twins: Twins) -> None:
    ours, theirs = twins.Sealed, twins.Plain
    for sealed, plain in (
        ((ours.rank.asc(), ours.id), (theirs.rank.asc(), theirs.id)),
        ((ours.rank.desc(), ours.id), (theirs.rank.desc(), theirs.id)),
    ):
        assert twins.sealed(ours.rank > 5, *sealed) == twins.plain(theirs.rank > 5, *plain)
        assert twins.sealed(ours.id > 0, *sealed) == twins.plain(theirs.id > 0, *plain)


def test_the_database_searches_the_index(twins: Twins) -> None:
    # A place between two others: elsewhere an index saves nothing.
    for key, low, high in (("age", 100, 102), ("rank", 100, 102)):
        plan = twins.plan(getattr(twins.Sealed, key).between(low, high))
        assert f"ix_sealed_{key}_{COLUMNS[key][1].kind}" in plan


def test_values_may_be_known_only_when_the_statement_is_executed(twins: Twins) -> None:
    Sealed, session = twins.Sealed, twins.session
    named = select(Sealed.id).where(Sealed.age.between(bindparam("low"), bindparam("high")))

    def by_lambda(low: int, high: int) -> list[int]:
        statement = lambda_stmt(lambda: select(Sealed.id).where(Sealed.age.between(low, high)))
        return sorted(session.scalars(statement))

    for low, high in ((10, 20), (1, 299), (20, 10), (-5, 400)):
        expected = twins.sealed(Sealed.age.between(low, high))
        assert sorted(session.scalars(named, {"low": low, "high": high})) == expected == by_lambda(low, high)
    assert session.scalars(named, {"low": None, "high": None}).all() == []
    for low, high in ((None, 7), ("secret", 7)):
        with pytest.raises(InvalidValue) as refused:
            session.scalars(named, {"low": low, "high": high})
        assert "secret" not in str(refused.value)
    same = bindparam("same")
    with pytest.raises(UnsupportedOperation, match="give each a name of its own"):
        session.scalars(select(Sealed.id).where(Sealed.age.between(same, same)), {"same": 7})


def test_a_value_that_the_index_cannot_hold_is_not_written(twins: Twins) -> None:
    for row in ({"age": 301}, {"age": -1}, {"visits": 54}, {"born": LAST_DAY + dt.timedelta(1)}):
        twins.session.add(twins.Sealed(id=1000, **row))
        with pytest.raises(InvalidValue):
            twins.session.flush()
        twins.session.rollback()


def test_moments_are_compared_in_utc(make_vault: Any) -> None:
    first, last = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) for year in (2000, 2001))
    type_ = DateTime(timezone=True)
    twins = Twins(make_vault(), {"at": EncryptedType(type_, index=[Range(first, last)])}, {"at": type_})
    east = dt.timezone(dt.timedelta(hours=5))
    moments = [first, first + dt.timedelta(hours=3), (first + dt.timedelta(hours=4)).astimezone(east), last]
    twins.add([{"at": one} for one in moments], [])
    assert twins.sealed(twins.Sealed.at > moments[1].astimezone(east)) == [3, 4]
    assert twins.sealed(twins.Sealed.at == moments[2].astimezone(dt.UTC)) == [3]
    twins.session.close()


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda c: c > "secret", "people.age: expected int, not str"),
        (lambda c: c.between(1, None), "people.age: BETWEEN a value and NULL"),
        (lambda c: c > c, "age is sealed: > has no meaning"),
        (lambda c: c + 1, "age is sealed: + has no meaning"),
    ],
)
def test_what_the_index_does_not_answer_is_refused_when_it_is_compiled(ask: Any, says: str) -> None:
    people = Table("people", MetaData(), Column("age", EncryptedType(Integer, index=[Range(0, 150)])))
    with pytest.raises(UnsupportedOperation) as refused:
        select(ask(people.c.age)).compile()
    assert says in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("type_", [String(9), Date(), DateTime(), Numeric(9, 2), list[int]])
def test_a_column_of_other_values_is_refused(type_: Any) -> None:
    for kind in (Range, Ordered):
        with pytest.raises(ConfigurationError, match="the column holds other values"):
            Table("people", MetaData(), Column("age", EncryptedType(type_, index=[kind(0, 9)])))
