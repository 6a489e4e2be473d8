"""What rows write into the hidden columns of indexes over several columns. See :func:`write_compounds`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from sqlalchemy import BindParameter, Column, Connection, Table

from sqlalchemy_cmk.columns.compounds import Combination, CompoundIndex
from sqlalchemy_cmk.columns.lookups import Identity, identities_in_database
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.rows import RowWriter
from sqlalchemy_cmk.hooks.values import MISSING, Row, known_value
from sqlalchemy_cmk.scope import PLATFORM_TENANT, tenant_scope

# Given an index and the keys of its columns that a statement leaves alone, returns what each row holds there.
Rest = Callable[[CompoundIndex, Sequence[str]], Sequence[Mapping[str, Any]]]


def write_compounds(
    writer: RowWriter,
    rows: Sequence[Row],
    tenants: Sequence[str],
    embedded: Mapping[str, Any],
    rest: Rest | None = None,
) -> Row:
    """Make the tokens of indexes of which a statement writes a column; before its values are sealed.

    Args:
        writer: of the statement's table.
        rows: the parameters of each row; tokens that are a row's own are put into them.
        tenants: the tenant of each row.
        embedded: what ``values()`` gives all rows, by the keys of columns.
        rest: reads what rows hold in columns that the statement leaves alone; without it that is NULL.

    Returns:
        The tokens that all rows have in common, for ``values()``.

    Raises:
        UnsupportedOperation: a value is SQL, or what the rest of the columns hold is not known.
    """
    elements: Row = {}
    for one in writer.tokens.compounds:
        given = [key for key in one.column_keys if key in embedded or key in rows[0]]
        if not given:
            continue
        left = [key for key in one.column_keys if key not in given]
        held: Sequence[Mapping[str, Any]] = rest(one, left) if rest is not None and left else [{}] * len(rows)
        values = [_combined(one, row, embedded, there) for row, there in zip(rows, held, strict=True)]
        owners = [writer.owner(one.column_keys[0], tenant) for tenant in tenants]
        in_rows = any(key in rows[0] or _is_named(embedded.get(key), rows[0]) for key in given)
        if not in_rows and not any(held) and len(set(owners)) == 1:
            elements.update(writer.tokens.elements_together(one, values[0], owners[0]))
            continue
        for owner in dict.fromkeys(owners):
            at = [i for i, other in enumerate(owners) if other == owner]
            chosen = [values[i] for i in at]
            known = [None if value.has_null else value for value in chosen]
            writer.require_owner(one.column_keys[0], known, owner)
            writer.tokens.write_together(one, [rows[i] for i in at], chosen, owner)
    return elements


def compound_elements(writer: RowWriter, row: Row, tenant: str, params: Row) -> Row:
    """Return the tokens of one row of ``values([...])``; raises as :func:`write_compounds`."""
    found: Row = {}
    for one in writer.tokens.compounds:
        if any(key in row for key in one.column_keys):
            values = _combined(one, {}, row, {}, params)
            owner = writer.owner(one.column_keys[0], tenant)
            writer.require_owner(one.column_keys[0], (None if values.has_null else values,), owner)
            found.update(writer.tokens.elements_together(one, values, owner))
    return found


class RestOfRows:
    """Reads what rows hold that an UPDATE names by their primary key, and locks them.

    Args:
        connection: the caller's, in whose transaction they are read.
        writer: of their table.
        keys: the columns by which they are named.
        names: what these hold in each row; ``None`` if the statement does not say it.
        tenants: whose rows they are.
    """

    def __init__(
        self,
        connection: Connection,
        writer: RowWriter,
        keys: Sequence[Column[Any]],
        names: Sequence[Identity | None],
        tenants: Sequence[str],
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._table: Table = writer.table
        self._keys = keys
        self._names = names
        self._tenants = tenants

    def __call__(self, one: CompoundIndex, left: Sequence[str]) -> list[Row]:
        """Return what each row holds in the columns that are left alone.

        Raises:
            UnsupportedOperation: a row is not named.
        """
        if any(name is None for name in self._names):
            raise UnsupportedOperation(
                f"{self._table.fullname}: {one.named} needs the values of all of its columns, and this "
                f"statement writes without {', '.join(map(repr, left))}: give all, or name each row by its "
                "primary key"
            )
        # What a row-bound value is bound to has to be in the result.
        identity = self._writer.identity.columns if self._writer.identity else ()
        columns = [*(self._table.c[key] for key in left), *identity]
        found: dict[int, Row] = {}
        for tenant in dict.fromkeys(self._tenants):
            at = [i for i, other in enumerate(self._tenants) if other == tenant]
            names = {i: name for i in at if (name := self._names[i]) is not None}
            with nullcontext() if tenant == PLATFORM_TENANT else tenant_scope(tenant):
                stored = identities_in_database(self._connection, self._keys, columns, names.values())
            for i, name in names.items():
                found[i] = dict(zip(left, stored.get(name, ()), strict=False))
        return [found[i] for i in range(len(self._names))]


def _combined(
    one: CompoundIndex,
    row: Row,
    embedded: Mapping[str, Any],
    held: Mapping[str, Any],
    params: Row | None = None,
) -> Combination:
    values = []
    for key in one.column_keys:
        given = row[key] if key in row else embedded.get(key, held.get(key))
        value = known_value(given, row if params is None else params)
        if value is MISSING:
            raise UnsupportedOperation(
                f"{one.where}: {key!r} is set to a SQL expression, of which {one.named} gets no token: give "
                "the value itself"
            )
        values.append(value)
    return Combination(values)


def _is_named(value: Any, row: Row) -> bool:
    return isinstance(value, BindParameter) and value.key in row
