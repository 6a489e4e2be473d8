"""Every type of SQLAlchemy and its dialects seals its values, or is refused where it is declared."""

import datetime as dt
import ipaddress
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk import ConfigurationError, EncryptedType

MODULES = ("types", *(f"dialects.{name}" for name in ("sqlite", "postgresql", "mysql", "oracle", "mssql")))
# What is made only with arguments.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "ARRAY": (sa.Integer(),),
    "DOMAIN": ("postal_code", sa.Text()),
    **dict.fromkeys(("ENUM", "Enum"), ("a", "b")),
}
NOT_MADE = {"TypeDecorator", "Variant"}
SAMPLES: dict[type[Any], Any] = {
    **{
        str: "a",
        bytes: b"a",
        int: 3,
        float: 1.5,
        Decimal: Decimal("1.5"),
        bool: True,
        list: [1],
        dict: {"a": 1},
    },
    **{
        dt.date: dt.date.min,
        dt.datetime: dt.datetime.min,
        dt.time: dt.time.min,
        dt.timedelta: dt.timedelta(1),
    },
    uuid.UUID: uuid.UUID(int=1),
    object: {"a": 1},  # of JSON, since SQLAlchemy 2.1
}


def every_type() -> Iterator[Any]:
    seen = set[type[Any]]()
    for module in MODULES:
        for name, kind in sorted(vars(import_module(f"sqlalchemy.{module}")).items()):
            if (
                isinstance(kind, type)
                and issubclass(kind, TypeEngine)
                and not {kind, name} & {*seen, *NOT_MADE}
            ):
                seen.add(kind)
                yield pytest.param(kind, id=f"{module}.{name}")


@pytest.mark.parametrize("kind", list(every_type()))
def test_a_type_seals_its_values_or_is_refused_with_what_to_declare(kind: type[TypeEngine[Any]]) -> None:
    declared = kind(*ARGUMENTS.get(kind.__name__, ()))
    try:
        codec = EncryptedType(declared).codec
    except ConfigurationError as error:
        assert len(str(error).partition(": ")[2]) > 20
        return
    value = SAMPLES[declared.python_type]
    assert codec.decode(codec.encode(value)) == value


class Point(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self) -> str:
        return "POINT"


class Geography(Point):
    def bind_expression(self, bindvalue: Any) -> Any:
        return sa.func.ST_GeogFromText(bindvalue)


class Rot13(sa.String):
    def bind_processor(self, dialect: Any) -> Any:
        return lambda value: value


class Folded(sa.TypeDecorator[str]):
    impl = sa.String
    cache_ok = True

    def column_expression(self, column: Any) -> Any:
        return sa.func.lower(column)


class Addresses(sa.TypeDecorator[str]):
    impl = postgresql.INET
    cache_ok = True


@dataclass
class Login:
    address: ipaddress.IPv4Address
    before: "Login | None" = None


REFUSED = [
    (sa.PickleType(), "pickles"),
    (postgresql.INET(), r"EncryptedType\(String\(43\)\)"),
    (postgresql.MACADDR(), r"EncryptedType\(String\(43\)\)"),
    (postgresql.HSTORE(), r"EncryptedType\(dict\[str, str \| None\]\)"),
    (postgresql.TSVECTOR(), "drop the column"),
    (postgresql.INT4RANGE(), "seal its bounds"),
    (postgresql.DATEMULTIRANGE(), "seal its bounds"),
    (postgresql.ARRAY(postgresql.CIDR()), r"EncryptedType\(String\(43\)\)"),
    (mysql.SET("a", "b"), r"EncryptedType\(set\[str\]\)"),
    (sa.Enum(), "an Enum without members"),
    (Point(), "a TypeDecorator of yours"),
    (Geography(), "its bind_expression would not be called"),
    (Rot13(), "its bind_processor would not be called"),
    (Folded(), "its column_expression would not be called"),
    (Addresses(), r"EncryptedType\(String\(43\)\)"),
    (list[ipaddress.IPv4Address], "which hold IPv4Address"),
    (Login, "which hold IPv4Address"),
    (dict[str, list[complex]], "which hold complex"),
]


@pytest.mark.parametrize(("declared", "advice"), REFUSED, ids=str)
def test_what_could_not_be_written_is_refused_when_declared(declared: Any, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        EncryptedType(declared)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (postgresql.INTERVAL(), dt.timedelta(days=1, microseconds=1)),
        (mysql.LONGBLOB(), b"\x00picture"),
        (sa.VARBINARY(3), b"abc"),
    ],
    ids=str,
)
def test_a_dialects_own_type_seals_what_it_holds_and_reads_what_it_held(declared: Any, value: Any) -> None:
    codec = EncryptedType(declared, accept_plaintext=True).codec
    assert codec.decode(codec.encode(value)) == value


def test_a_binary_types_length_is_kept() -> None:
    assert EncryptedType(sa.VARBINARY(3)).codec.max_bytes == 3
