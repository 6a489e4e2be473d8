"""The cases of ``sealed-v1.json``: values and their plaintexts, byte by byte, and what they are bound to."""

from dataclasses import dataclass
from typing import Any


def prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


@dataclass(frozen=True)
class Bound:
    """What a column's values are bound to: its names, or the pinned one."""

    schema: str | None = None
    table: str = "patients"
    column: str = "ssn"
    pinned: str | None = None

    @property
    def data(self) -> bytes:
        if self.pinned is not None:
            return b"\x01" + prefixed(self.pinned.encode())
        return b"\x00" + b"".join(
            prefixed(one.encode()) for one in (self.schema or "", self.table, self.column)
        )

    def shown(self) -> dict[str, str | None]:
        if self.pinned is not None:
            return {"pinned": self.pinned}
        return {"schema": self.schema, "table": self.table, "column": self.column}


@dataclass(frozen=True)
class Key:
    """The value of one identity column, in the terms of the file."""

    type: str
    value: Any
    plaintext: bytes

    def shown(self) -> dict[str, Any]:
        return {"type": self.type, "value": self.value, "plaintext": self.plaintext.hex()}


Row = tuple[Key, ...]


def identity(row: Row) -> bytes:
    return bytes((len(row),)) + b"".join(prefixed(one.plaintext) for one in row) if row else b""


@dataclass(frozen=True)
class Case:
    """A value and its plaintext; ``fixed`` is both in a deterministic column, where they differ there.

    A value with a ``row`` is row-bound, which deterministic columns are not.
    """

    name: str
    type: str
    value: Any
    plaintext: bytes
    fixed: tuple[Any, bytes] | None = None
    bound: Bound = Bound()
    row: Row = ()


UUID = "c9bf9e57-1685-4c89-bafb-ff5af830be8a"
BIG = (
    b"\x93\xc7\x14\x0118446744073709551616\xc7\x14\x01-9223372036854775809"
    b"\xcf\x80\x00\x00\x00\x00\x00\x00\x00"
)

# Plaintexts of a row identity are canonical, whatever the column that is bound.
SEVERAL = (
    Key("integer", 65536, b"\xce\x00\x01\x00\x00"),
    Key("text", "acme", b"acme"),
    Key("uuid", UUID, b"\xd9\x24" + UUID.encode()),
    Key("date", "2026-02-28", b"\xaa2026-02-28"),
    Key("datetime", "2026-01-01T21:34:05.000006+00:00", b"\xd9\x202026-01-01T21:34:05.000006+00:00"),
    Key("decimal", "1.1", b"\xa31.1"),
    Key("boolean", True, b"\xc3"),
    Key("enum", "RED", b"RED"),
    Key("bytes", "00ff", b"\x00\xff"),
)

CASES = (
    Case("text", "text", "078-05-1120", b"078-05-1120"),
    Case("text, empty", "text", "", b""),
    Case("text, beyond ASCII", "text", "Zoë 🩺", b"Zo\xc3\xab \xf0\x9f\xa9\xba"),
    Case("text, table in a schema", "text", "x", b"x", bound=Bound("clinic")),
    Case("text, schema and table", "text", "x", b"x", bound=Bound("a", "b.c", "d")),
    Case("text, the same with the dot elsewhere", "text", "x", b"x", bound=Bound("a.b", "c", "d")),
    Case("text, the same without a schema", "text", "x", b"x", bound=Bound(None, "a.b.c", "d")),
    Case("text, names beyond ASCII", "text", "x", b"x", bound=Bound("büro", "größen", "schuh")),
    Case("text, pinned name", "text", "x", b"x", bound=Bound(pinned="person.email")),
    Case("text, the column's name pinned", "text", "x", b"x", bound=Bound(pinned="patients.ssn")),
    Case("text, pinned name beyond ASCII", "text", "x", b"x", bound=Bound(pinned="größe, 靴 👟")),
    Case("text, row of an integer", "text", "x", b"x", row=(Key("integer", 7, b"\x07"),)),
    Case("text, row of another integer", "text", "x", b"x", row=(Key("integer", -129, b"\xd1\xff\x7f"),)),
    Case("text, row of a text", "text", "x", b"x", row=(Key("text", "Zoë", b"Zo\xc3\xab"),)),
    Case("text, row of an empty text", "text", "x", b"x", row=(Key("text", "", b""),)),
    Case("text, row of a UUID", "text", "x", b"x", row=(Key("uuid", UUID, b"\xd9\x24" + UUID.encode()),)),
    Case("text, row of two texts", "text", "x", b"x", row=(Key("text", "ab", b"ab"), Key("text", "c", b"c"))),
    Case(
        "text, row of two texts, cut elsewhere",
        "text",
        "x",
        b"x",
        row=(Key("text", "a", b"a"), Key("text", "bc", b"bc")),
    ),
    Case("text, row of several types", "text", "x", b"x", row=SEVERAL),
    Case(
        "json, row of several types, pinned",
        "json",
        [7],
        b"\x91\x07",
        bound=Bound(pinned="note"),
        row=SEVERAL,
    ),
    Case("bytes", "bytes", "00ff80", b"\x00\xff\x80"),
    Case("bytes, empty", "bytes", "", b""),
    Case("integer, zero", "integer", 0, b"\x00"),
    Case("integer, one byte", "integer", 127, b"\x7f"),
    Case("integer, two bytes", "integer", 128, b"\xcc\x80"),
    Case("integer, five bytes", "integer", 65536, b"\xce\x00\x01\x00\x00"),
    Case("integer, negative", "integer", -33, b"\xd0\xdf"),
    Case("integer, largest", "integer", 2**63 - 1, b"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"),
    Case("integer, smallest", "integer", -(2**63), b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
    Case("boolean, true", "boolean", True, b"\xc3"),
    Case("boolean, false", "boolean", False, b"\xc2"),
    Case("float", "float", 0.1, b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
    Case("float, whole", "float", 1.0, b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    Case(
        "float, negative zero",
        "float",
        -0.0,
        b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00",
        fixed=(0.0, b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00"),
    ),
    Case("decimal", "decimal", "1.10", b"\xa41.10", fixed=("1.1", b"\xa31.1")),
    Case("decimal, trailing zeros", "decimal", "100", b"\xa3100", fixed=("1E+2", b"\xa41E+2")),
    Case(
        "decimal, 33 characters",
        "decimal",
        "-12345678901234567890.12345678901",
        b"\xd9\x21-12345678901234567890.12345678901",
    ),
    Case("date", "date", "2026-02-28", b"\xaa2026-02-28"),
    Case("datetime", "datetime", "2026-01-02T03:04:05.000006", b"\xba2026-01-02T03:04:05.000006"),
    Case("datetime, whole second", "datetime", "0001-01-01T00:00:00", b"\xb30001-01-01T00:00:00"),
    Case(
        "datetime, aware",
        "datetime",
        "2026-01-02T03:04:05.000006+05:30",
        b"\xd9\x202026-01-02T03:04:05.000006+05:30",
        fixed=("2026-01-01T21:34:05.000006+00:00", b"\xd9\x202026-01-01T21:34:05.000006+00:00"),
    ),
    Case("time", "time", "23:59:59.999999", b"\xaf23:59:59.999999"),
    Case("time, whole second, aware", "time", "07:30:00-02:00", b"\xae07:30:00-02:00"),
    Case("interval", "interval", 2 * 86400_000000 + 3600_500000, b"\xabP2DT3600.5S"),
    Case("interval, negative", "interval", -1, b"\xac-PT0.000001S"),
    Case("interval, zero", "interval", 0, b"\xa3P0D"),
    Case("uuid", "uuid", UUID, b"\xd9\x24" + UUID.encode()),
    Case("uuid, as text", "uuid", UUID, b"\xd9\x24" + UUID.encode()),
    Case("enum, name of a member", "enum", "RED", b"RED"),
    Case("enum, plain", "enum", "small", b"small"),
    Case(
        "json",
        "json",
        {"b": [1, 2.5, "x", None, True], "a": {}},
        b"\x82\xa1b\x95\x01\xcb\x40\x04\x00\x00\x00\x00\x00\x00\xa1x\xc0\xc3\xa1a\x80",
        fixed=(
            {"a": {}, "b": [1, 2.5, "x", None, True]},
            b"\x82\xa1a\x80\xa1b\x95\x01\xcb\x40\x04\x00\x00\x00\x00\x00\x00\xa1x\xc0\xc3",
        ),
    ),
    Case("json, null", "json", None, b"\xc0"),
    Case("json, integers beyond 64 bits", "json", [2**64, -(2**63) - 1, 2**63], BIG),
    Case("array of integers", "array of integer", [1, None, -5], b"\x93\xc4\x01\x01\xc0\xc4\x01\xfb"),
    Case("array, empty", "array of integer", [], b"\x90"),
    Case(
        "array of two dimensions",
        "array of integer",
        [[1, 2], [128, None]],
        b"\x92\x92\xc4\x01\x01\xc4\x01\x02\x92\xc4\x02\xcc\x80\xc0",
    ),
    Case("array of texts", "array of text", ["é", ""], b"\x92\xc4\x02\xc3\xa9\xc4\x00"),
    Case("array of dates", "array of date", ["2026-02-28"], b"\x91\xc4\x0b\xaa2026-02-28"),
    Case("annotation", "structure", [1, 128], b"\x92\x01\xcc\x80"),
    Case(
        "dataclass",
        "structure",
        {"street": "Rue 1", "since": "2026-02-28"},
        b"\x82\xa6street\xa5Rue 1\xa5since\xaa2026-02-28",
    ),
    Case(
        "dataclass with a default",
        "structure",
        {"street": "Rue 1", "since": None},
        b"\x82\xa6street\xa5Rue 1\xa5since\xc0",
    ),
    Case(
        "msgspec", "structure", {"x": 3, "y": 0.5}, b"\x82\xa1x\x03\xa1y\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"
    ),
    Case("msgspec, as an array", "structure", [3, "ff"], b"\x92\x03\xc4\x01\xff"),
    Case(
        "pydantic",
        "structure",
        {"paid": "1.10", "at": "2026-01-01T21:34:05.000006+00:00", "tags": ["x"]},
        b"\x83\xa4paid\xa41.10\xa2at\xd7\xff\x00\x00\x5d\xc0\x69\x56\xe8\x4d\xa4tags\x91\xa1x",
        fixed=(
            {"at": "2026-01-01T21:34:05.000006+00:00", "paid": "1.10", "tags": ["x"]},
            b"\x83\xa2at\xd7\xff\x00\x00\x5d\xc0\x69\x56\xe8\x4d\xa4paid\xa41.10\xa4tags\x91\xa1x",
        ),
    ),
    Case(
        "timestamps of 4 and 12 bytes",
        "structure",
        ["2026-01-01T21:34:05+00:00", "1960-01-01T00:00:00.000005+00:00"],
        b"\x92\xd6\xff\x69\x56\xe8\x4d\xc7\x0c\xff\x00\x00\x13\x88\xff\xff\xff\xff\xed\x30\x08\x80",
    ),
)


# Plaintexts that are not a value of their declared type, however well they are sealed.
NO_VALUES = (
    ("text", b"\xff"),
    ("enum", b"\xff"),
    ("integer", b""),
    ("integer", b"\xc3"),
    ("integer", b"\x01\x00"),
    ("integer", b"\xce\x00\x01"),
    ("integer", b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    ("boolean", b"\x01"),
    ("float", b"\x01"),
    ("decimal", b"\x01"),
    ("decimal", b"\xa1x"),
    ("date", b"\xaa2026-02-30"),
    ("datetime", b"\xc0"),
    ("time", b"\xa525:00"),
    ("interval", b"\xa23s"),
    ("uuid", b"\xa37x!"),
    ("json", b"\xc1"),
    ("json", b"\xa1\xff"),
    ("json", b"\xc4\x01x"),
    ("json", b"\x81\x01\x01"),
    ("json", b"\xd4\x02\x37"),
    ("json", b"\xd6\xff\x69\x56\xe8\x4d"),
    ("json", b"\xdd\xff\xff\xff\xff"),
    ("array of integer", b"\x91\x01"),
    ("array of integer", b"\xc0"),
    ("array of text", b"\x91\xc4\x01\xff"),
)
