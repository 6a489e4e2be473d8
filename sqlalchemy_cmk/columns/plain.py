"""Columns of a dry run: their values are stored as their plain type, and every check is made all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Enum, LargeBinary, Null, Table
from sqlalchemy.types import TypeDecorator, TypeEngine

from sqlalchemy_cmk.codec import Codec
from sqlalchemy_cmk.errors import InvalidValue
from sqlalchemy_cmk.keys.dry_run import DryRun, dry_run_of

if TYPE_CHECKING:
    from sqlalchemy_cmk.columns.column import SealedColumn
    from sqlalchemy_cmk.columns.reading import Owners


class Plain:
    """A value of a row on its way to the driver, whose checks are made.

    Attributes:
        value: the Python value.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "(a plain value of a dry run)"


class EncodedType(TypeDecorator[Any]):
    """The plain type of values that have no SQLAlchemy type of their own: their encoded bytes.

    Args:
        codec: encodes them.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        """Encode a value."""
        return None if value is None else self.codec.encode(value)

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        """Decode a value."""
        return None if value is None else self.codec.decode(bytes(value))


def plain_type(type_: Any, codec: Codec) -> TypeEngine[Any]:
    """Return the type under which a dry run stores values."""
    return type_ if isinstance(type_, TypeEngine) else EncodedType(codec)


def create_plain_types(table: Table, connection: Connection, **_: Any) -> None:
    """Make the types of a dry run's columns that a database keeps by name, such as PostgreSQL's ENUMs.

    SQLAlchemy makes those of a table's own columns, and these are inside of another type.
    """
    if dry_run_of(table.metadata) is not None:
        for column in table.columns:
            plain = getattr(column.type, "plain", None)
            if isinstance(plain, Enum):
                plain.create(connection, checkfirst=True)


class PlainWriter:
    """Takes the place of a ``ColumnWriter``: notes values that do not fit, and leaves all as they are.

    Args:
        column: the column.
        dry_run: notes what is refused.
    """

    def __init__(self, column: SealedColumn, dry_run: DryRun) -> None:
        self._where, self._encode = column.where, column.codec.encode
        self._nulls = not column.column.type.should_evaluate_none
        self._dry_run = dry_run

    def seal(self, value: Any, owner: str, identity: bytes = b"") -> Any:
        """Return one value plain."""
        if (value is None and self._nulls) or isinstance(value, Null):
            return value
        try:
            self._encode(value)
        except InvalidValue as error:
            self._dry_run.note(InvalidValue(f"{self._where}: {error}"))
        return Plain(value)

    def seal_all(
        self, values: Sequence[Any], owner: str, identities: Sequence[bytes] | None = None
    ) -> list[Any]:
        """Return many values plain."""
        return [self.seal(one, owner) for one in values]


class PlainReader:
    """Takes the place of a ``ColumnReader``: notes values of which nothing says whose they are.

    Args:
        dry_run: notes what is refused.
        lenient: whether the keyring lets values be read without an owner.
    """

    def __init__(self, dry_run: DryRun, lenient: bool) -> None:
        self._dry_run = dry_run
        self.lenient = lenient

    def read(
        self, values: Sequence[Any], owners: Owners, identities: Sequence[bytes] | None = None
    ) -> Sequence[Any]:
        """Return the values as they are."""
        held = owners.held or [None] * len(values)
        filled = (whose for whose, value in zip(held, values, strict=True) if value is not None)
        for one in dict.fromkeys(filled):
            with self._dry_run.noting():
                owners.name(one)
        return values

    def end(self) -> None:
        """End a batch: nothing is kept."""
