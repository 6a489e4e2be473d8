"""The table of ``cmk status``: a line for each tenant."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from sqlalchemy_cmk.cli.output import age, plural, tenant_label
from sqlalchemy_cmk.cli.status_page import StatusPage
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import KekUse, Keyring
from sqlalchemy_cmk.keys.model import TenantKek, TenantState, TenantStatus
from sqlalchemy_cmk.providers.base import SHORT
from sqlalchemy_cmk.runtime.printable import printable

STYLES = {
    TenantState.OK: "green",
    TenantState.REVOKED: "bold red",
    TenantState.LOCKED: "bold yellow",
    TenantState.SHREDDED: "magenta",
    TenantState.TAMPERED: "bold red",
}


class StatusTable:
    """Shows the tenants of a page, and what their KEKs have answered.

    Args:
        keyring: knows the providers, which know what of a version to show.
        page: the page.
        newest: whether each KEK was asked for its newest version.
    """

    def __init__(self, keyring: Keyring, page: StatusPage, *, newest: bool) -> None:
        self._keyring = keyring
        self._page = page
        self._newest = newest

    def lines(self) -> Table:
        """Return the table of the tenants."""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("tenant", overflow="fold", min_width=8)
        table.add_column("owner", no_wrap=True)
        table.add_column("KEK", overflow="fold", min_width=14)
        table.add_column("version", no_wrap=True)
        if self._newest:
            table.add_column("newest", no_wrap=True)
        table.add_column("DEKs\nact/ret", justify="center", no_wrap=True)
        table.add_column("state", overflow="fold", min_width=12)
        if not self._newest:  # there is no room for both in 80 columns
            table.add_column("last\nseen", no_wrap=True)
        for line in self._page.lines:
            for cells in self._rows(line, self._page.uses_of(line)):
                table.add_row(*cells)
        return table

    def summary(self) -> Text:
        """Return the line below: how many tenants are in which state, and where the next page begins."""
        page, states = self._page, self._page.states
        counts = ", ".join(f"{states[one]} {one}" for one in TenantState if states[one])
        if page.whole:
            summary = f"{plural(len(page.lines), 'tenant')}: {counts}"
        elif counts:
            summary = f"{len(page.lines)} of {plural(states.total(), 'tenant')}; {counts}, as stored"
        else:
            summary = plural(len(page.lines), "tenant")
        due = sum(needs_rewrap(page.uses_of(line)) is True for line in page.lines)
        if due:
            summary += f"; {due} to rewrap: run cmk rewrap"
        if page.next is not None:
            summary += f"\nmore: --after {shlex.quote(printable(page.next))}"
        return Text(summary)

    def _rows(self, line: TenantStatus, uses: list[KekUse]) -> Iterator[list[Text]]:
        """Return a row of cells for each KEK of a tenant; only the first says whose they are."""
        first = [Text(tenant_label(line.tenant)), Text(line.owner)]
        last = [Text(f"{line.active}/{line.retired}"), self._state(line, uses)]
        if not self._newest:
            last.append(Text("never" if line.seen_at is None else age(line.seen_at)))
        for kek in line.keks or (TenantKek(line.kek_uri, ()),):
            theirs = [use for use in uses if use.kek_uri == kek.kek_uri]
            versions = "\n".join(self._short(kek.kek_uri, version) for version in kek.versions)
            newest = [self._newest_of(theirs)] if self._newest else []
            yield [*first, Text(printable(kek.kek_uri)), Text(versions or "-"), *newest, *last]
            first, last = [Text(), Text("also")], [Text()] * len(last)

    def _newest_of(self, uses: list[KekUse]) -> Text:
        """Return the newest version of each KEK, on the line of the version in use."""
        lines = []
        for use in uses:
            if use.newest is None:
                lines.append(Text("?", style="yellow"))
            elif use.stale:
                lines.append(Text(self._short(use.kek_uri, use.newest), style="yellow"))
            else:
                lines.append(Text("same", style="dim"))
        return Text("\n").join(lines) if lines else Text("-")

    def _state(self, line: TenantStatus, uses: list[KekUse]) -> Text:
        cell = Text(str(line.state), style=STYLES[line.state])
        if line.state_since is not None:
            cell.append(f" for {age(line.state_since)}", style="dim")
        if line.reason:
            cell.append(f"\n{printable(line.reason)}")
        for use in uses:
            if use.failure is not None and str(use.failure) != line.reason:
                version = self._short(use.kek_uri, use.version)
                cell.append(f"\n{version} does not unwrap: ", style="bold red")
                cell.append(printable(str(use.failure)))
        if needs_rewrap(uses):
            cell.append("\nneeds a rewrap", style="bold yellow")
        return cell

    def _short(self, kek_uri: str, version: str) -> str:
        try:
            return printable(self._keyring.provider_of(kek_uri).short_version(version))
        except ConfigurationError:  # nothing serves this KEK any more
            return printable(version[:SHORT])


def needs_rewrap(uses: list[KekUse]) -> bool | None:
    """Return whether a rewrap is due; ``None`` if a KEK cannot be asked and no other is due."""
    if any(use.stale for use in uses):
        return True
    return None if any(use.newest is None for use in uses) else False
