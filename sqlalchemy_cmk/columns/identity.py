"""What a row-bound value is bound to: the row's primary key, or the columns that ``__cmk_row__`` names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import add
from struct import iter_unpack, pack
from typing import Any
from uuid import UUID

from msgspec.msgpack import Encoder
from sqlalchemy import (
    BINARY,
    CHAR,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Table,
    Time,
    Uuid,
)
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.types import VARBINARY, TypeDecorator, TypeEngine

from sqlalchemy_cmk.codec import codec_for
from sqlalchemy_cmk.columns.tenants import ROW_ATTRIBUTE, ROW_INFO_KEY
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.keeping import keeps
from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue
from sqlalchemy_cmk.format import MAX_IDENTITY_COLUMNS, row_identity

Encode = Callable[[Any], bytes]
EncodeAll = Callable[[Sequence[Any]], Sequence[bytes]]

# Of no column, which no row has: what is bound to it never opens.
NO_IDENTITY = b"\0"

_KINDS = (Integer, String, Uuid, LargeBinary, BINARY, VARBINARY, Boolean, Date, DateTime, Time, Numeric)
_NEUTRAL = DefaultDialect()
_pack = Encoder().encode
# A text of 36 bytes in MessagePack.
_UUID_BEGINS = b"\xd9\x24"
# The lengths of short plaintexts as they are written before them.
_LENGTHS = tuple(pack("!H", length) for length in range(256))


@dataclass(frozen=True, slots=True)
class RowIdentity:
    """The columns that identify a table's rows for row-bound values.

    Attributes:
        table: the table.
        columns: its identity columns, in the order in which they are bound.
    """

    table: Table
    columns: tuple[Column[Any], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the columns."""
        return tuple(str(column.key) for column in self.columns)

    def encoder(self, dialect: Dialect | None = None) -> IdentityEncoder:
        """Return what makes row identities of the columns' Python values.

        Args:
            dialect: of the database that values are about to be written to: those that it would give back
                changed are refused. ``None`` for values that were read.
        """
        return IdentityEncoder(self, dialect)


class IdentityEncoder:
    """Makes row identities of what the identity columns hold. Made by :meth:`RowIdentity.encoder`.

    Raises:
        ConfigurationError: values of a column's type cannot identify a row.
    """

    __slots__ = ("_beginnings", "_encode_all", "_encodes", "_keeps", "_where")

    def __init__(self, identity: RowIdentity, dialect: Dialect | None) -> None:
        columns = identity.columns
        self._where = ", ".join(f"{identity.table.fullname}.{column.name}" for column in columns)
        self._encodes = [identity_codec(column.type) for column in columns]
        self._encode_all = [
            _batch_codec(column.type, one) for column, one in zip(columns, self._encodes, strict=True)
        ]
        count = bytes((min(len(columns), MAX_IDENTITY_COLUMNS),))
        self._beginnings = [count + length for length in _LENGTHS]
        self._keeps = [None if dialect is None else _keeps(column.type, dialect) for column in columns]

    def __call__(self, values: Sequence[Any]) -> bytes:
        """Return the identity of one row.

        Raises:
            InvalidValue: a value is ``None``, does not fit its column, or would not be read back equal.
        """
        reason = ""
        try:
            if any(value is None for value in values):
                reason = "it is not known before the row is written"
            else:
                plaintexts = [one(value) for one, value in zip(self._encodes, values, strict=True)]
                if all(kept is None or kept(one) for kept, one in zip(self._keeps, values, strict=True)):
                    return row_identity(plaintexts)
                reason = "the database would round, cut or convert the value: give the one that it keeps"
        except (InvalidValue, ValueError) as error:
            reason = str(error)
        raise InvalidValue(f"the row identity ({self._where}) cannot be bound: {reason}")

    def all(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return the identities of many rows, given column by column; raises as a call does."""
        try:
            if not any(self._keeps):
                plaintexts = [encode(one) for encode, one in zip(self._encode_all, columns, strict=True)]
                first = _prefixed(self._beginnings, plaintexts[0])
                if len(columns) == 1:
                    return list(first)
                others = [_prefixed(_LENGTHS, one) for one in plaintexts[1:]]
                return list(map(b"".join, zip(first, *others, strict=True)))
        except (InvalidValue, IndexError, ValueError):
            pass  # named below, or longer than the table of lengths
        return list(map(self, zip(*columns, strict=True)))


def _prefixed(lengths: Sequence[bytes], plaintexts: Sequence[bytes]) -> Iterator[bytes]:
    return map(add, map(lengths.__getitem__, map(len, plaintexts)), plaintexts)


def _keeps(type_: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], bool] | None:
    return None if isinstance(type_, EncryptedType) else keeps(type_, dialect)


def identity_codec(type_: TypeEngine[Any]) -> Encode:
    """Return what encodes the values of an identity column: its type's canonical plaintext.

    A text of a ``CHAR`` column counts without the spaces at its end, bytes of a ``BINARY`` column without the
    zeros there.

    Raises:
        ConfigurationError: values of the type cannot identify a row.
    """
    if isinstance(type_, EncryptedType):
        return codec_for(type_.type_, canonical=True).encode
    if isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
        inner = identity_codec(type_.impl_instance)
        if type(type_).process_bind_param is TypeDecorator.process_bind_param:
            return inner
        return lambda value: inner(type_.process_bind_param(value, _NEUTRAL))
    if isinstance(type_, Uuid):
        return _encode_uuid
    encode = _plain(type_)
    if not isinstance(type_, CHAR | BINARY):
        return encode
    padding: Any = " " if isinstance(type_, CHAR) else b"\0"
    # The database pads it, or takes the padding away.
    return lambda value: encode(value.rstrip(padding) if isinstance(value, type(padding)) else value)


def is_exact(type_: TypeEngine[Any]) -> bool:
    """Return whether SQL takes no two values of an identity column for equal that differ as identities."""
    return isinstance(type_, EncryptedType | Integer | Uuid | Boolean | Date | LargeBinary)


def _plain(type_: Any) -> Encode:
    unequal = isinstance(type_, Float) or (isinstance(type_, Numeric) and not type_.asdecimal)
    if unequal or not isinstance(type_, _KINDS):
        raise ConfigurationError(
            f"a column of type {type_!r} cannot identify a row for row-bound columns: name columns of texts, "
            f"integers or UUIDs in {ROW_ATTRIBUTE}"
        )
    return codec_for(type_, canonical=True).encode


def _batch_codec(type_: TypeEngine[Any], encode: Encode) -> EncodeAll:
    """Return what encodes many values of an identity column; what it stumbles over is encoded one by one."""
    length = getattr(type_, "length", None)

    def encode_each(values: Sequence[Any]) -> list[bytes]:
        return list(map(encode, values))

    def encode_integers(values: Sequence[Any]) -> list[bytes]:
        if set(map(type, values)) == {int} and min(values) >= -(2**63) and max(values) < 2**63:
            return list(map(_pack, values))
        return encode_each(values)

    def encode_texts(values: Sequence[Any]) -> list[bytes]:
        if set(map(type, values)) == {str} and (length is None or max(map(len, values)) <= length):
            return list(map(str.encode, values))
        return encode_each(values)

    if isinstance(type_, Integer):
        return encode_integers
    if isinstance(type_, Uuid):
        return _encode_uuids
    if isinstance(type_, String) and not isinstance(type_, CHAR | Enum):
        return encode_texts
    return encode_each


def _encode_uuid(value: Any) -> bytes:
    if not isinstance(value, UUID | str):
        raise InvalidValue(f"expected UUID, not {type(value).__name__}")
    return _pack(value if isinstance(value, UUID) else UUID(value))


def _encode_uuids(values: Sequence[Any]) -> list[bytes]:
    """Return the plaintexts of UUIDs; a database without such a type gives them as 32 hexadecimal digits."""
    kinds = set(map(type, values))
    if kinds == {UUID}:
        return list(map(_pack, values))
    together = "".join(values) if kinds == {str} else ""
    # Letters that are no digits stay as they are: no row was ever sealed with them.
    if (
        together.isascii()
        and together.isalnum()
        and together == together.lower()
        and set(map(len, values)) == {32}
    ):
        parts = iter_unpack("8s4s4s4s12s", together.encode())
        return list(map(_UUID_BEGINS.__add__, map(b"-".join, parts)))
    return list(map(_encode_uuid, values))


def identity_of(table: Table) -> RowIdentity:
    """Return what identifies a table's rows for row-bound values.

    A table without a model names the columns in ``info={"cmk_row": ("public_id",)}``.

    Raises:
        ConfigurationError: ``__cmk_row__`` names a column that is not there, one that is row-bound or changes
            with each UPDATE; or there is no primary key.
    """
    names = table.info.get(ROW_INFO_KEY)
    if names is None:
        columns = tuple(table.primary_key)
    else:
        missing = [name for name in names if name not in table.c]
        if missing:
            raise ConfigurationError(
                f"{table.fullname}: {ROW_ATTRIBUTE} names {missing[0]!r}, which is not a column of the table"
            )
        columns = tuple(table.c[name] for name in names)
    for column in columns:
        if isinstance(column.type, EncryptedType) and column.type.scheme.row_bound:
            raise ConfigurationError(
                f"{table.fullname}.{column.name} identifies the row, and cannot be row-bound itself"
            )
        if column.onupdate is not None or column.server_onupdate is not None:
            raise ConfigurationError(
                f"{table.fullname}.{column.name} changes with each UPDATE (onupdate), and cannot identify "
                f"the row for row-bound columns: name other columns in {ROW_ATTRIBUTE}"
            )
    if not columns:
        raise ConfigurationError(
            f"{table.fullname}: a row-bound column needs a primary key, or {ROW_ATTRIBUTE} = ('column',)"
        )
    return RowIdentity(table, columns)
