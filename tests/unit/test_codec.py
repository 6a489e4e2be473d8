"""Plaintexts: every value comes back as it went in, and bytes that are no value are named."""

import datetime as dt
import enum
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqlalchemy_cmk import ConfigurationError, EncryptedType, InvalidValue, Keyring, TamperedError
from sqlalchemy_cmk.codec import codec_for
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.vectors import Address, Colour, Pair, Point, Visit


class Place(NamedTuple):
    name: str
    id: uuid.UUID


class Reversed(sa.TypeDecorator[str]):
    """A type of the application's own: it stores its texts backwards."""

    impl = sa.String(5)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value[::-1]

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value[::-1]


def decimals(largest_exponent: int) -> st.SearchStrategy[Decimal]:
    digits = st.lists(st.integers(0, 9), min_size=1, max_size=60).map(tuple)
    exponents = st.integers(-largest_exponent, largest_exponent)
    return st.tuples(st.integers(0, 1), digits, exponents).map(Decimal) | st.decimals(allow_nan=False)


A_DAY = dt.timedelta(days=1, seconds=-1)
words = st.text(st.characters(exclude_categories=["Cs"]))
zones = st.integers(-86_399, 86_399).map(lambda s: dt.timezone(dt.timedelta(seconds=s)))
# A day from both ends, so that every moment has a UTC; the ends have a test of their own.
aware = st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=zones)
whole_minutes = st.integers(-1439, 1439).map(lambda m: dt.timezone(dt.timedelta(minutes=m)))
longs = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), -129, -33, 128, 2**63 - 1])
any_size = st.integers() | st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**4000, -(10**4000)])
jsons = st.recursive(
    st.none() | st.booleans() | any_size | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
floats = st.floats(allow_nan=False)

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (sa.Text(), words),
    "string": (sa.String(4), st.text(st.characters(exclude_categories=["Cs"]), max_size=4)),
    "binary": (sa.LargeBinary(), st.binary()),
    "varbinary": (sa.VARBINARY(4), st.binary(max_size=4)),
    "integer": (sa.Integer(), longs),
    "boolean": (sa.Boolean(), st.booleans()),
    "float": (sa.Float(), floats),
    "double": (sa.Numeric(asdecimal=False), floats),
    "numeric": (sa.Numeric(), decimals(5000)),
    "money": (sa.Numeric(12, 2), st.decimals(-(10**10) + 1, 10**10 - 1, places=2)),
    "date": (sa.Date(), st.dates()),
    "naive": (sa.DateTime(), st.datetimes()),
    "aware": (sa.DateTime(timezone=True), aware),
    "time": (sa.Time(), st.times() | st.times(timezones=zones)),
    "interval": (sa.Interval(), st.timedeltas()),
    "uuid": (sa.Uuid(), st.uuids()),
    "uuid_text": (sa.Uuid(as_uuid=False), st.uuids().map(str)),
    "member": (sa.Enum(Colour), st.sampled_from(Colour)),
    "plain_enum": (sa.Enum("small", "größer", name="size"), st.sampled_from(["small", "größer"])),
    "json": (sa.JSON(), jsons),
    "integers": (sa.ARRAY(sa.Integer), st.lists(st.none() | longs, max_size=4)),
    "texts": (sa.ARRAY(sa.String), st.lists(words, max_size=4)),
    "moments": (sa.ARRAY(sa.DateTime), st.lists(st.datetimes(), max_size=4)),
    "tuples": (sa.ARRAY(sa.Date, as_tuple=True), st.lists(st.dates(), max_size=4).map(tuple)),
    "matrix": (sa.ARRAY(sa.Numeric, dimensions=2), st.lists(st.lists(decimals(9), max_size=2), max_size=3)),
    "decorated": (Reversed(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
    "listed": (list[int], st.lists(st.integers(-(2**63), 2**64 - 1), max_size=4)),
    "mapped": (dict[str, float], st.dictionaries(words, floats, max_size=4)),
    "pair": (tuple[str, bytes], st.tuples(words, st.binary())),
    "set": (set[int], st.sets(longs, max_size=5)),
    "named_tuple": (Place, st.builds(Place, words, st.uuids())),
    "times": (list[dt.time], st.lists(st.times(timezones=st.none() | whole_minutes), max_size=3)),
    "dataclass": (Address, st.builds(Address, words, st.none() | st.dates())),
    "struct": (Point, st.builds(Point, longs, floats)),
    "array_like": (Pair, st.builds(Pair, longs, st.binary())),
    "pydantic": (Visit, st.builds(Visit, paid=decimals(9).filter(Decimal.is_finite), at=aware)),
    "untyped": (dict, st.dictionaries(words, any_size, max_size=3)),
}
unhurried = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
each_type = pytest.mark.parametrize("name", TYPES)
both_ways = pytest.mark.parametrize("canonical", [False, True], ids=["randomized", "deterministic"])


@both_ways
@each_type
def test_a_value_comes_out_as_it_went_in_and_fits_its_column(name: str, canonical: bool) -> None:
    declared, values = TYPES[name]
    codec = codec_for(declared, canonical=canonical)

    @unhurried
    @given(values)
    def round_trip(value: Any) -> None:
        plaintext = codec.encode(value)
        assert type(plaintext) is bytes
        assert codec.max_bytes is None or len(plaintext) <= codec.max_bytes
        opened = codec.decode(plaintext)
        assert opened == value and type(opened) is type(value)
        assert not canonical or codec.encode(opened) == plaintext

    round_trip()


@unhurried
@given(aware)
def test_an_aware_datetime_keeps_its_offset_and_is_in_utc_where_equality_counts(moment: dt.datetime) -> None:
    for canonical, offset in ((False, moment.utcoffset()), (True, dt.timedelta(0))):
        codec = codec_for(sa.DateTime(timezone=True), canonical=canonical)
        assert codec.decode(codec.encode(moment)).utcoffset() == offset


@unhurried
@given(decimals(50))
def test_a_decimal_keeps_its_digits_and_loses_trailing_zeros_where_equality_counts(number: Decimal) -> None:
    randomized, fixed = (codec_for(sa.Numeric(), canonical=canonical) for canonical in (False, True))
    assert str(randomized.decode(randomized.encode(number))) == str(number)
    if number.is_finite() and number and number.as_tuple().digits[-1:] != (0,):
        longer = Decimal(f"{number:f}" + ("0" if "." in f"{number:f}" else ".0"))
        assert fixed.encode(longer) == fixed.encode(number)


@both_ways
def test_what_is_no_number_comes_back_as_none(canonical: bool) -> None:
    for declared in (sa.Float(), sa.Numeric(), sa.Numeric(asdecimal=False), sa.JSON()):
        codec = codec_for(declared, canonical=canonical)
        for value in (float("nan"), float("inf"), float("-inf")):
            opened = codec.decode(codec.encode(value))
            assert opened == value or (opened != opened and value != value)


@pytest.mark.parametrize("end", [dt.datetime.min, dt.datetime.max])
def test_a_moment_that_has_no_utc_is_kept_by_a_randomized_column_and_refused_by_a_deterministic_one(
    end: dt.datetime,
) -> None:
    zone = dt.timezone(A_DAY if end == dt.datetime.min else -A_DAY)
    randomized, fixed = (codec_for(sa.DateTime(), canonical=canonical) for canonical in (False, True))
    assert randomized.decode(randomized.encode(end.replace(tzinfo=zone))) == end.replace(tzinfo=zone)
    with pytest.raises(InvalidValue):
        fixed.encode(end.replace(tzinfo=zone))


@pytest.mark.parametrize("offset", [dt.timedelta(seconds=0.5), dt.timedelta(hours=-1, microseconds=1)])
def test_an_offset_with_fractions_of_a_second_is_refused(offset: dt.timedelta) -> None:
    zone = dt.timezone(offset)
    for declared, value in ((sa.DateTime(), dt.datetime(2026, 1, 1)), (sa.Time(), dt.time(12))):
        with pytest.raises(InvalidValue, match="fractions of a second"):
            codec_for(declared, canonical=False).encode(value.replace(tzinfo=zone))


SUMMER = dt.timezone(dt.timedelta(hours=2))
EQUAL = [
    (sa.Numeric(), Decimal("1.10"), Decimal("1.1")),
    (sa.Numeric(), Decimal("100"), Decimal("1E+2")),
    (sa.Numeric(), 7, Decimal("7.00")),
    (sa.Numeric(), Decimal("0.00"), Decimal("0E+7")),
    (sa.Numeric(), Decimal(0), Decimal("-0")),
    (sa.Float(), 0.0, -0.0),
    (sa.Float(), 1, 1.0),
    (sa.Boolean(), True, 1),
    (sa.DateTime(), dt.datetime(2020, 1, 1, 2, tzinfo=SUMMER), dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
    (sa.DateTime(), dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, fold=1)),
    (sa.JSON(), {"b": {"y": 1, "x": 2}, "a": 3}, {"a": 3, "b": {"x": 2, "y": 1}}),
    (sa.JSON(), {"b": 2**64, "a": 1}, {"a": 1, "b": 2**64}),
    (sa.Uuid(as_uuid=False), str(uuid.UUID(int=10**37)), uuid.UUID(int=10**37).hex.upper()),
    (sa.ARRAY(sa.Numeric), [Decimal("1.0")], [Decimal(1)]),
    (sa.Enum(Colour), Colour.RED, "RED"),
    (sa.LargeBinary(), b"ab", bytearray(b"ab")),
    (dict[str, int], {"b": 1, "a": 2}, {"a": 2, "b": 1}),
    (set[int], {1, 9, 17, 2**40}, {2**40, 17, 9, 1}),
]


@pytest.mark.parametrize(("declared", "one", "other"), EQUAL, ids=str)
def test_equal_values_give_equal_bytes_where_equality_counts(declared: Any, one: Any, other: Any) -> None:
    codec = codec_for(declared, canonical=True)
    assert codec.encode(one) == codec.encode(other)
    assert codec.decode(codec.encode(one)) == codec.decode(codec.encode(other))


SAMPLES: list[Any] = [None, "SECRET", b"SECRET", 3, 3.5, Decimal("3.5"), True, ["SECRET"], ("SECRET",)]
SAMPLES += [{"a": 1}, {"SECRET"}, object(), dt.date.min, dt.datetime.min, dt.time.min, dt.timedelta(1)]
SAMPLES += [uuid.UUID(int=1), Colour.RED, Address("SECRET"), Point(1, 1.0), Pair(1, b"")]
SAMPLES += [Place("SECRET", uuid.UUID(int=1)), Visit(paid=Decimal(1), at=dt.datetime.min, tags=set())]
NUMBERS = (int, float, Decimal)
# Which of the samples a type takes; types that are not listed take none of them.
TAKEN: dict[str, tuple[type, ...]] = {
    **{"text": (str,), "binary": (bytes,), "member": (Colour,), "boolean": (bool,)},
    **{"integer": (int, bool), "date": (dt.date, dt.datetime), "time": (dt.time,)},
    **{"float": NUMBERS, "double": NUMBERS, "numeric": NUMBERS, "money": NUMBERS},
    **{"naive": (dt.date, dt.datetime), "aware": (dt.datetime,)},
    **{"interval": (dt.timedelta,), "uuid": (uuid.UUID,)},
    **{"texts": (list, tuple), "json": (type(None), str, int, float, bool, list, tuple, dict)},
    **{"mapped": (dict,), "untyped": (dict,), "named_tuple": (Place,), "dataclass": (Address,)},
    **{"struct": (Point,), "array_like": (Pair,), "pydantic": (Visit,)},
}


@both_ways
@each_type
def test_a_value_of_a_wrong_type_is_refused_and_not_shown(name: str, canonical: bool) -> None:
    codec = codec_for(TYPES[name][0], canonical=canonical)
    for sample in SAMPLES:
        if type(sample) in TAKEN.get(name, ()):
            codec.encode(sample)
            continue
        with pytest.raises(InvalidValue) as caught:
            codec.encode(sample)
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize(
    ("declared", "bad"),
    [
        (sa.String(3), "four"),
        (sa.String(), "\ud800"),
        (sa.LargeBinary(3), b"four"),
        (sa.Integer(), 2**63),
        (sa.Integer(), -(2**63) - 1),
        (sa.Boolean(), 2),
        (sa.Float(), 10**400),
        (sa.Numeric(4, 2), Decimal("100")),
        (sa.Numeric(4, 2), 99.995e3),
        (sa.Numeric(), Decimal("sNaN")),
        (sa.Uuid(as_uuid=False), "no uuid"),
        (sa.Enum(Colour), "GREEN"),
        (sa.JSON(), {(1,): "a key that is not text"}),
        (sa.JSON(), [{"deep": b"bytes"}]),
        (sa.ARRAY(sa.Integer, dimensions=2), [[1], 2]),
        (sa.ARRAY(sa.Integer, dimensions=1), [[1]]),
        (list[int], [2**64]),
        (list[int], [-(2**63) - 1]),
        (list[dt.datetime], [dt.datetime.min.replace(tzinfo=SUMMER)]),
        (Address, Address(7)),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused(declared: Any, bad: Any) -> None:
    with pytest.raises(InvalidValue):
        codec_for(declared, canonical=False).encode(bad)


def test_a_model_that_does_not_fit_is_refused_without_a_word_of_its_value(
    recwarn: pytest.WarningsRecorder,
) -> None:
    with pytest.raises(InvalidValue):
        codec_for(Visit, canonical=False).encode(Visit.model_construct(paid=Decimal(1), at="SECRET"))
    assert [str(one.message) for one in recwarn] == []


class Key(str, enum.Enum):  # noqa: UP042  (the kind whose str() is not its value)
    A = "a"


@dataclass
class Flat(Address):
    floor: int = 0


@pytest.mark.parametrize(
    ("declared", "value", "canonical"),
    [
        (sa.Numeric(), Decimal("1E-1000000"), True),
        (sa.Numeric(), Decimal("1E-1999999999999999997"), True),
        (sa.Numeric(), Decimal("1234567E-1000000000000000000"), True),
        (sa.JSON(), {Key.A: 1}, False),
        (Address, Flat("Rue 1", floor=2), False),
        (list, [dt.date(2020, 1, 1)], False),
    ],
    ids=str,
)
def test_a_value_that_would_change_is_refused(declared: Any, value: Any, canonical: bool) -> None:
    codec = codec_for(declared, canonical=canonical)
    try:
        plaintext = codec.encode(value)
    except InvalidValue:
        return
    assert codec.decode(plaintext) == value


@pytest.mark.parametrize("declared", [sa.types.NullType(), sa.types.TupleType(sa.Integer), list[object()]])  # type: ignore[misc]
def test_a_type_that_cannot_be_sealed_is_refused_when_it_is_declared(declared: Any) -> None:
    with pytest.raises(ConfigurationError):
        EncryptedType(declared)


Opener = Callable[[str, bytes], Any]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    """Opens a plaintext that was sealed for the column of a type, whatever it holds."""
    folder = tmp_path_factory.mktemp("codec")
    table = sa.Table("t", sa.MetaData(), *(sa.Column(name, EncryptedType(TYPES[name][0])) for name in TYPES))
    engine = sa.create_engine(f"sqlite:///{folder}/t.db")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(folder / "keys.json")])
    keyring.protect(table.metadata)
    table.metadata.create_all(engine)
    dek = keyring.active("", Purpose.RANDOMIZED)
    columns = {
        name: (
            dek.cipher(Context.of_column(None, "t", name)).seal,
            table.c[name].type.result_processor(engine.dialect, None),
        )
        for name in TYPES
    }
    yield lambda name, plaintext: columns[name][1](columns[name][0](plaintext))
    keyring.close()
    engine.dispose()


MAP_FOR_A_KEY = b"\x81\x80\x00"
DAMAGED = [
    MAP_FOR_A_KEY,
    b"",
    b"\xc1",
    b"\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\x91" * 100_000,
]
DAMAGED += [msgspec.msgpack.encode(msgspec.msgpack.Ext(code, b"7x")) for code in (-2, 0, 1, 2)]
UNPACKED = ("text", "string", "binary", "varbinary", "decorated")


@each_type
def test_damaged_bytes_are_named(opened: Opener, name: str) -> None:
    for damaged in () if name in UNPACKED else DAMAGED:
        with pytest.raises(TamperedError, match=rf"^t\.{name}: .* not a value of the declared type"):
            opened(name, damaged)

    @unhurried
    @given(TYPES[name][1], st.data())
    def damage(value: Any, data: st.DataObject) -> None:
        plaintext = codec_for(TYPES[name][0], canonical=False).encode(value)
        longer = st.binary(min_size=3)
        damaged = data.draw(longer | st.just(plaintext[:-1]) | st.just(plaintext + b"\x00"))
        try:
            found = opened(name, damaged)
        except TamperedError as error:
            assert str(error).startswith(f"t.{name}: ") and error.__context__ is None
        else:
            assert type(found) is type(value) or name == "json"

    damage()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("integer", None),
        ("integer", 1.0),
        ("boolean", 2),
        ("float", "x"),
        ("date", 5),
        ("aware", None),
        ("time", "25:00"),
        ("interval", 5),
        ("uuid", "no uuid"),
        ("texts", ["x"]),
        ("listed", ["x"]),
        ("dataclass", {}),
        ("numeric", [0, [1], 0]),
        ("uuid_text", "no uuid"),
        ("uuid_text", 5),
        ("integers", None),
        ("texts", b"x"),
        ("json", b"x"),
        ("json", dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
    ],
    ids=str,
)
def test_a_value_of_another_kind_is_named(opened: Opener, name: str, other: Any) -> None:
    with pytest.raises(TamperedError, match=rf"^t\.{name}: .* not a value of the declared type"):
        opened(name, msgspec.msgpack.encode(other))
