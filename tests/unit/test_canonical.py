"""Canonical plaintexts: two values of a key have equal bytes if and only if they are equal."""

import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import EncryptedType
from sqlalchemy_cmk.codec import codec_for
from sqlalchemy_cmk.columns.identity import identity_codec, identity_of
from tests.unit.test_codec import decimals, floats, longs, unhurried, words
from tests.vectors import Colour


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Written(dt.datetime):
    """A moment that writes itself in a form of its own."""

    def isoformat(self, *args: Any, **kwargs: Any) -> str:
        return f"the moment {super().isoformat()}"


def members(kind: type[enum.Enum]) -> st.SearchStrategy[Any]:
    return st.sampled_from(kind) | st.sampled_from([member.name for member in kind])


def rescaled(numbers: st.SearchStrategy[Decimal]) -> st.SearchStrategy[Decimal]:
    """The same numbers with other exponents, such as 1.0, 1.00 and 10E-1."""

    def shift(number: Decimal, places: int) -> Decimal:
        sign, digits, exponent = number.as_tuple()
        if not isinstance(exponent, int):  # an infinity
            return number
        return Decimal((sign, digits + (0,) * places, exponent - places))

    return st.builds(shift, numbers, st.integers(0, 3))


same = st.integers(-2, 2)
near = st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, 0, 0, 1))
half_hours = st.integers(-3, 3).map(lambda n: dt.timezone(dt.timedelta(minutes=30 * n)))
shifted = st.integers(-3, 3).map(
    lambda n: dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=30 * n)
)
uuids = st.integers(0, 2).map(lambda n: uuid.UUID(int=n * 10**37))
# What a primary key may hold: the declared type, forms of few values, and what makes two of them equal.
KEYS: dict[str, tuple[Any, st.SearchStrategy[Any], Callable[[Any], Any]]] = {
    "integer": (sa.Integer(), same | st.booleans() | st.sampled_from(Level) | longs, int),
    "big": (sa.BigInteger(), longs | same, int),
    "text": (sa.String(), st.text("aAé\u0301 \x00", max_size=2) | words, str),
    "bytes": (
        sa.LargeBinary(),
        st.binary(max_size=1).flatmap(lambda b: st.sampled_from([b, bytearray(b)])),
        bytes,
    ),
    "uuid": (sa.Uuid(), uuids, str),
    "uuid_text": (
        sa.Uuid(as_uuid=False),
        uuids.flatmap(lambda one: st.sampled_from([str(one), one.hex, str(one).upper(), one.urn])),
        uuid.UUID,
    ),
    "date": (sa.Date(), st.dates(dt.date(2026, 1, 1), dt.date(2026, 1, 3)), str),
    "naive": (
        sa.DateTime(),
        st.builds(
            lambda at, fold: at.replace(fold=fold),
            near.map(lambda at: at.replace(microsecond=0)),
            st.integers(0, 1),
        ),
        lambda at: at.replace(fold=0),
    ),
    "aware": (
        sa.DateTime(timezone=True),
        st.builds(dt.datetime.astimezone, shifted, half_hours),
        lambda at: at.astimezone(dt.UTC),
    ),
    "written": (
        sa.DateTime(timezone=True),
        st.builds(lambda at: Written.fromtimestamp(at.timestamp(), at.tzinfo), shifted) | shifted,
        lambda at: at.timestamp(),
    ),
    "decimal": (
        sa.Numeric(),
        same | same.map(Decimal) | same.map(float) | st.sampled_from(Level) | rescaled(decimals(3)),
        lambda number: Decimal(number) if number else Decimal(0),
    ),
    "float": (sa.Float(), same | same.map(float) | same.map(Decimal) | floats | st.just(-0.0), float),
    "enum": (sa.Enum(Colour), members(Colour), lambda one: one if isinstance(one, Colour) else Colour[one]),
    "int_enum": (sa.Enum(Level), members(Level), lambda one: Level[one] if isinstance(one, str) else one),
    "words": (sa.Enum("small", "größer", name="size"), st.sampled_from(["small", "größer"]), str),
    "boolean": (sa.Boolean(), st.booleans() | st.integers(0, 1), bool),
    "interval": (
        sa.Interval(),
        same.map(lambda n: dt.timedelta(hours=12 * n)) | st.timedeltas(),
        lambda one: one,
    ),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("capitals", [0, 1])
def test_two_values_of_a_key_have_equal_bytes_if_and_only_if_they_are_equal(name: str, capitals: int) -> None:
    declared, values, meaning = KEYS[name]
    codec = codec_for(declared, canonical=True)

    @settings(unhurried, max_examples=200)
    @given(values, values)
    def compare(one: Any, other: Any) -> None:
        # What a thread does with its decimal context changes nothing.
        with decimal.localcontext(decimal.Context(prec=2, capitals=capitals)):
            plaintext, second = codec.encode(one), codec.encode(other)
        assert (plaintext == second) is (meaning(one) == meaning(other))
        # What the database gives back for a value is bound as the value was.
        assert codec.encode(codec.decode(plaintext)) == plaintext

    compare()


def test_where_python_and_the_bytes_differ_about_equality() -> None:
    def pair(declared: Any, one: Any, other: Any) -> list[bytes]:
        assert one == other
        encode = codec_for(declared, canonical=True).encode
        return [encode(one), encode(other)]

    # A float stands for the decimal number that it prints as.
    assert pair(sa.Numeric(), 0.1, Decimal.from_float(0.1))[0] == b"\xa30.1"
    # A time keeps its offset.
    eastern = dt.timezone(dt.timedelta(hours=1))
    noon = pair(sa.Time(), dt.time(12, tzinfo=dt.UTC), dt.time(13, tzinfo=eastern))
    assert noon == [b"\xae12:00:00+00:00", b"\xae13:00:00+01:00"]
    # Python compares two moments of one zone by their clocks; the night when they go back has two of each.
    night = dt.datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"))
    assert pair(sa.DateTime(timezone=True), night, night.replace(fold=1)) == [
        b"\xb92020-10-25T00:30:00+00:00",
        b"\xb92020-10-25T01:30:00+00:00",
    ]


def test_a_text_that_the_database_pads_identifies_its_row_without_the_padding() -> None:
    padded, exact, sealed = (
        identity_codec(type_) for type_ in (sa.CHAR(5), sa.String(5), EncryptedType(sa.CHAR(5)))
    )
    assert padded("ab") == padded("ab   ") == b"ab" != padded(" ab")
    assert exact("ab ") == sealed("ab ") == b"ab "


def test_a_batch_of_row_identities_is_that_of_each_row() -> None:
    one, two = uuid.UUID(int=7), uuid.UUID(int=2**127 + 5)
    columns: list[tuple[Any, list[Any]]] = [
        (sa.Integer(), [1, 2**40]),
        (sa.String(), ["a", "é" * 300]),
        (sa.Uuid(), [one, two]),
        (sa.Uuid(), [one.hex, two.hex]),
        (sa.Uuid(), [one.hex.upper(), str(two)]),
        (sa.Uuid(), [one, two.hex]),
        (sa.Numeric(9, 2), [Decimal("1.50"), 2.5]),
    ]
    for types in ([column] for column in columns), [columns], [columns[:3], columns[3:]]:
        for some in types:
            made = [sa.Column(f"c{i}", type_, primary_key=True) for i, (type_, _) in enumerate(some)]
            encode = identity_of(sa.Table("t", sa.MetaData(), *made)).encoder()
            values = [held for _, held in some]
            rows = list(zip(*values, strict=True))
            assert encode.all(values) == [encode(row) for row in rows]
    uuids = identity_of(sa.Table("u", sa.MetaData(), sa.Column("id", sa.Uuid(), primary_key=True))).encoder()
    assert uuids.all([[one, two]]) == uuids.all([[one.hex, two.hex]]) == uuids.all([[str(one), str(two)]])
