"""``cmk status --rows``: counts the rows of sealed columns by the state of their DEKs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from sqlalchemy_cmk.columns.scheme import Scheme
from sqlalchemy_cmk.columns.tenants import sealed_columns
from sqlalchemy_cmk.databases.errors import complaint
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import DekState
from sqlalchemy_cmk.rekey.counting import RowCounts, count_rows, sealed_tables
from sqlalchemy_cmk.runtime.printable import printable


@dataclass(frozen=True, slots=True)
class CountedColumn:
    """The row counts of one sealed column.

    Attributes:
        where: ``table.column``.
        scheme: its options.
        rows: the counts; ``None`` if the table cannot be read.
        states: the states of the DEKs under which there are rows.
        problem: why it cannot be read.
    """

    where: str
    scheme: Scheme
    rows: RowCounts | None
    states: dict[bytes, DekState]
    problem: str = ""

    def under(self, state: DekState) -> int:
        """Return how many rows are sealed under DEKs in a state."""
        counts = self.rows.by_dek if self.rows else {}
        return sum(count for dek_id, count in counts.items() if dek_id and self.states[dek_id] is state)


def mixed_columns(keyring: Keyring) -> list[str]:
    """Return what columns accept that is not sealed, one sentence for each such column."""
    return sorted(
        f"{column.where} accepts {'plaintext' if column.scheme.accept_plaintext else 'old ciphertext'}"
        for table, _ in sealed_tables(keyring)
        for column in sealed_columns(table).values()
        if column.scheme.is_mixed
    )


def counted_columns(keyring: Keyring) -> Iterator[CountedColumn]:
    """Count the rows of every protected sealed column, table by table."""
    states = keyring.dek_states()
    for table, names in sealed_tables(keyring):
        schemes = {one.column.name: one.scheme for one in sealed_columns(table).values()}
        counts: dict[str, RowCounts] = {}
        problem = ""
        try:
            counts = keyring.connections.run(
                lambda connection, table=table, names=names: count_rows(connection, table, names, states)  # type: ignore[misc]
            )
        except (SQLAlchemyError, OSError) as error:
            problem = complaint(error)
        for name in names:
            rows = counts.get(name)
            known = {one: states[one] for one in (rows.by_dek if rows else ()) if one}
            yield CountedColumn(f"{table.fullname}.{name}", schemes[name], rows, known, problem)


def described_column(column: CountedColumn) -> dict[str, Any]:
    """Return a column's counts as JSON holds them."""
    described: dict[str, Any] = {
        "column": column.where,
        "accepts_plaintext": column.scheme.accept_plaintext,
        "accepts_legacy": bool(column.scheme.accept_legacy),
    }
    if column.rows is None:
        return {**described, "problem": column.problem}
    by_dek = {dek_id.hex(): count for dek_id, count in column.rows.by_dek.items() if dek_id}
    states = {str(state): column.under(state) for state in DekState}
    return {**described, **states, "plain": column.rows.unsealed, "null": column.rows.null, "by_dek": by_dek}


def rows_table(columns: list[CountedColumn]) -> Table:
    """Return the counts as a table for people."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("column", overflow="fold", min_width=14)
    for name in ("active", "retired", "destroyed", "not sealed", "null"):
        table.add_column(name, justify="right", no_wrap=True)
    for column in columns:
        if column.rows is None:
            table.add_row(Text(f"{printable(column.where)}\n{printable(column.problem)}"), *["?"] * 5)
            continue
        plain = column.rows.unsealed
        style = "" if not plain else "yellow" if column.scheme.is_mixed else "bold red"
        table.add_row(
            Text(printable(column.where)),
            str(column.under(DekState.ACTIVE)),
            str(column.under(DekState.RETIRED)),
            str(column.under(DekState.DESTROYED)),
            Text(str(plain), style=style),
            str(column.rows.null),
        )
    return table
