"""The columns that a check is about: those declared as ``EncryptedType``, and plain ones that are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sqlalchemy import Column, MetaData, Table

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.declared import wrong_declarations
from sqlalchemy_cmk.columns.models import model_names
from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.keyring import KEYRING
from sqlalchemy_cmk.runtime.kinds import several, takes

NAMES = several("a list of columns' names, such as ['patients.ssn']", str)


@dataclass(frozen=True)
class Subject:
    """One column to be sealed, in a copy of the models in which it is.

    Attributes:
        sealed: the column.
        problems: what is declared around it that a sealed column cannot keep.
        models: the names of the classes that are mapped to its table.
    """

    sealed: SealedColumn
    problems: tuple[str, ...] = ()
    models: frozenset[str] = frozenset()

    @property
    def table(self) -> Table:
        """Its table."""
        return self.sealed.table

    @property
    def type_(self) -> Any:
        """Its type."""
        return self.sealed.column.type

    @property
    def where(self) -> str:
        """``table.column``."""
        return self.sealed.where


SUBJECTS = several("a list of what subjects_of(keyring) returned", Subject)


@takes(keyring=KEYRING, names=NAMES, deterministic=NAMES)
def subjects_of(
    keyring: Keyring, names: Sequence[str] = (), deterministic: Sequence[str] = ()
) -> list[Subject]:
    """Return the columns to be checked; the models themselves stay as they are.

    Args:
        keyring: protects the models.
        names: ``table.column``, of declared or plain columns; all that are declared without them.
        deterministic: likewise, plain ones that would be deterministic.

    Raises:
        ConfigurationError: there is no such column, or values of its type cannot be sealed.
    """
    copies = [_copied(metadata) for metadata in keyring.protected]
    chosen = [_named(copies, name, fixed=name in deterministic) for name in (*names, *deterministic)]
    if not chosen:
        tables = (table for copy in copies for table in copy.tables.values())
        chosen = [one.column for table in tables for one in sealed_columns(table).values()]
    wrong = {table: found for copy in copies for table, found in wrong_declarations(copy).items()}
    mapped = {
        table.fullname: model_names(table)
        for metadata in keyring.protected
        for table in metadata.tables.values()
    }
    return [_subject(one, wrong.get(one.table, ()), mapped[one.table.fullname]) for one in chosen]


def _copied(metadata: MetaData) -> MetaData:
    copy = MetaData(schema=metadata.schema, naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(copy)
    return copy


def _named(copies: Sequence[MetaData], name: str, *, fixed: bool) -> Column[Any]:
    columns = {
        f"{table.fullname}.{column.name}": column
        for copy in copies
        for table in copy.tables.values()
        for column in table.columns
    }
    if name not in columns:
        close = get_close_matches(name, columns, 1)
        raise ConfigurationError(
            f"no protected model has a column {name!r}"
            + (f": did you mean {close[0]}?" if close else ": name it table.column")
        )
    column = columns[name]
    if not isinstance(column.type, EncryptedType):
        column.type = EncryptedType(column.type, deterministic=fixed)
        column.type.attach(column)
    return column


def _subject(column: Column[Any], problems: Sequence[str], models: frozenset[str]) -> Subject:
    sealed = column.type.sealed_column  # type: ignore[attr-defined]
    about = (one for one in problems if one.startswith(sealed.where) or column.name in one.split())
    return Subject(sealed, tuple(dict.fromkeys(about)), models)
