"""Every supported type comes out as it went in, in value and in Python type, on every database."""

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Table,
    Text,
    Time,
    Unicode,
    Uuid,
    event,
    insert,
    null,
    select,
)
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import mapped_column

from sqlalchemy_cmk import EncryptedType, InvalidValue
from tests.support.vault import Vault


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


@dataclass
class Address:
    street: str
    since: dt.date | None = None


class Visit(pydantic.BaseModel):
    at: dt.datetime
    paid: Decimal
    tags: set[str] = set()


class Point(msgspec.Struct):
    x: int
    y: float


words = st.text(st.characters(exclude_categories=["Cs"]))
zones = st.builds(lambda m: dt.timezone(dt.timedelta(minutes=m)), st.integers(-720, 840))
longs = st.integers(-(2**63), 2**63 - 1)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
decimals = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)
visits = st.builds(Visit, at=st.datetimes(timezones=zones), paid=decimals, tags=st.sets(words, max_size=3))

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "string": (String(200), st.text(st.characters(exclude_categories=["Cs"]), max_size=50)),
    "text": (Text(), words),
    "unicode": (Unicode(200), st.text(st.characters(exclude_categories=["Cs"]), max_size=50)),
    "integer": (Integer(), longs),
    "big_integer": (BigInteger(), longs),
    "float": (Float(), st.floats(allow_nan=False)),
    "numeric": (Numeric(20, 3), decimals),
    "boolean": (Boolean(), st.booleans()),
    "date": (Date(), st.dates()),
    "naive": (DateTime(), st.datetimes()),
    "aware": (DateTime(timezone=True), st.datetimes(timezones=zones)),
    "time": (Time(), st.times()),
    "interval": (Interval(), st.timedeltas()),
    "binary": (LargeBinary(), st.binary()),
    "json": (JSON(), jsons),
    "uuid": (Uuid(), st.uuids()),
    "uuid_text": (Uuid(as_uuid=False), st.uuids().map(str)),
    "python_enum": (Enum(Colour), st.sampled_from(Colour)),
    "plain_enum": (Enum("small", "large", name="size"), st.sampled_from(["small", "large"])),
    "array": (ARRAY(Integer), st.lists(longs, max_size=4)),
    "dates": (ARRAY(Date), st.lists(st.none() | st.dates(), max_size=4)),
    "matrix": (ARRAY(Integer, dimensions=2), st.lists(st.lists(longs, max_size=2), max_size=3)),
    "listed": (list[int], st.lists(longs, max_size=4)),
    "dataclass": (Address, st.builds(Address, words, st.none() | st.dates())),
    "pydantic": (Visit, visits),
    "struct": (Point, st.builds(Point, longs, st.floats(allow_nan=False))),
}


@pytest.mark.parametrize("name", TYPES)
def test_a_value_comes_out_as_it_went_in(vault: Vault, name: str) -> None:
    declared, values = TYPES[name]
    columns = {
        "randomized": mapped_column(EncryptedType(declared)),
        "fixed": mapped_column(EncryptedType(declared, deterministic=True)),
    }
    model = type(
        "Thing",
        (vault.base,),
        {"__tablename__": "things", "id": mapped_column(Integer, primary_key=True), **columns},
    )
    vault.create()

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(values, min_size=1, max_size=10))
    def round_trip(given_values: list[Any]) -> None:
        with vault.session() as session:
            session.add_all([model(randomized=value, fixed=value) for value in given_values])
            session.flush()
            session.expire_all()
            found = session.scalars(select(model).order_by(model.id)).all()
            for value, thing in zip(given_values, found, strict=True):
                assert thing.randomized == value and type(thing.randomized) is type(value)
                assert thing.fixed == value and type(thing.fixed) is type(value)
            session.rollback()

    round_trip()


def test_an_aware_datetime_keeps_its_offset(vault: Vault) -> None:
    model = things(vault, DateTime(timezone=True))
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.timezone(dt.timedelta(hours=5, minutes=30)))
    with vault.session() as session:
        session.add(model(value=moment))
        session.commit()
        assert session.scalars(select(model.value)).one().utcoffset() == dt.timedelta(hours=5, minutes=30)


def test_sql_null_and_json_null_are_kept_apart(vault: Vault) -> None:
    model = things(vault, JSON())
    with vault.session() as session:
        session.add_all([model(value=None), model(value=null()), model(), model(value=JSON.NULL)])
        session.execute(insert(model), [{"value": None}])
        session.commit()
        assert session.scalars(select(model.value)).all() == [None] * 5
    stored = [row[0] for row in vault.raw("SELECT value FROM things ORDER BY id")]
    assert [one is None for one in stored] == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("declared", "bad"),
    [
        (String(5), "SECRET"),
        (String(5), 12345),
        (Enum(Colour), "SECRET"),
        (Enum("a", "b", name="ab"), "SECRET"),
        (Date(), "SECRET"),
        (Date(), dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
        (DateTime(timezone=True), dt.date(2020, 1, 1)),
        (Integer(), "SECRET"),
        (Integer(), 2**63),
        (Numeric(4, 2), Decimal("123.4")),
        (Boolean(), "SECRET"),
        (LargeBinary(3), b"SECRET"),
        (Uuid(), "SECRET"),
        (JSON(), {"a": object()}),
        (JSON(), {(1,): "SECRET"}),
        (JSON(), dt.date(2020, 1, 1)),
        (ARRAY(Integer), ["SECRET"]),
        (String(), "SECRET\ud800"),
        (list[int], ["SECRET"]),
        (Address, {"street": "SECRET"}),
        (Point, Address("SECRET")),
    ],
)
def test_a_value_that_does_not_fit_fails_before_anything_is_sent(
    make_vault: Any, declared: Any, bad: Any
) -> None:
    vault = make_vault()
    model = things(vault, declared)
    vault.keyring.warm([""])
    sent: list[str] = []
    event.listen(vault.engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    with vault.session() as session, pytest.raises(InvalidValue, match=r"things\.value") as caught:
        session.add(model(value=bad))
        session.flush()
    assert sent == []
    error: BaseException | None = caught.value
    while error is not None:
        assert "SECRET" not in f"{error!r}{vars(error)}"
        error = error.__cause__ or error.__context__


def test_changes_inside_a_mutable_value_are_tracked(vault: Vault) -> None:
    model = things(vault, JSON(), MutableDict.as_mutable)
    with vault.session() as session:
        thing = model(value={"visits": 1})
        session.add(thing)
        session.commit()
        thing.value["visits"] = 2
        session.commit()
        session.expire_all()
        assert thing.value == {"visits": 2} and isinstance(thing.value, MutableDict)


def test_changes_inside_a_mutable_list_are_tracked(vault: Vault) -> None:
    model = things(vault, JSON(), MutableList.as_mutable)
    with vault.session() as session:
        thing = model(value=[1])
        session.add(thing)
        session.commit()
        thing.value.append(2)
        session.commit()
        session.expire_all()
        assert thing.value == [1, 2] and isinstance(thing.value, MutableList)


def test_equal_values_of_a_deterministic_column_are_stored_as_equal_bytes(make_vault: Any) -> None:
    summer, utc = dt.timezone(dt.timedelta(hours=2)), dt.UTC
    pairs: list[tuple[Any, Any, Any]] = [
        (Numeric(), Decimal("1.10"), Decimal("1.1")),
        (Float(), 0.0, -0.0),
        (
            DateTime(timezone=True),
            dt.datetime(2020, 1, 1, 2, tzinfo=summer),
            dt.datetime(2020, 1, 1, tzinfo=utc),
        ),
        (JSON(), {"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (Uuid(as_uuid=False), str(uuid.UUID(int=10**37)), uuid.UUID(int=10**37).hex),
    ]
    for declared, one, other in pairs:
        vault = make_vault()
        model = things(vault, declared, deterministic=True)
        with vault.session() as session:
            session.add_all([model(value=one), model(value=other)])
            session.commit()
        first, second = vault.raw("SELECT value FROM things")
        assert first == second, declared


def things(vault: Vault, declared: Any, wrap: Any = lambda type_: type_, **options: Any) -> Any:
    """A model with one sealed column."""
    column = mapped_column(wrap(EncryptedType(declared, **options)), nullable=True)
    model = type(
        "Thing",
        (vault.base,),
        {"__tablename__": "things", "id": mapped_column(Integer, primary_key=True), "value": column},
    )
    vault.create()
    return model


def test_sql_null_is_kept_apart_from_json_null_in_core_too(make_vault: Callable[[], Vault]) -> None:
    vault = make_vault()
    sealed = EncryptedType(JSON)
    table = Table("notes", vault.base.metadata, Column("id", Integer, primary_key=True), Column("a", sealed))
    vault.create()
    with vault.engine.begin() as connection:
        connection.execute(table.insert(), [{"a": null()}, {"a": None}])
    assert [row[0] is None for row in vault.raw("SELECT a FROM notes ORDER BY id")] == [True, False]
