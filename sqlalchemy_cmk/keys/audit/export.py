"""One tenant's part of the audit trail, for its owner to keep and to check without the database.

An export is lines of JSON: the tenant's rows as they are stored, oldest first, and a last line that says how
many there are and gives a digest of them. A row names the row before it in the whole trail by its hash, which
says nothing of other tenants. What a reader can check alone is that no row was changed, that none of these is
missing from the file, and that a later export still has every row of an earlier one.

The lines are events of OCSF where that is asked for, and checked as well; see
:mod:`~sqlalchemy_cmk.keys.audit.ocsf`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, TypeVar

import msgspec

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.audit import ocsf
from sqlalchemy_cmk.keys.audit.authentication import Authenticity, Checker
from sqlalchemy_cmk.keys.audit.chain import AuditEntry
from sqlalchemy_cmk.keys.manifest.record_key import RecordKey
from sqlalchemy_cmk.runtime.clock import as_utc, utc_now
from sqlalchemy_cmk.runtime.kinds import named

ExportFormat = Literal["jsonl", "ocsf"]
FORMATS: tuple[ExportFormat, ...] = ("jsonl", "ocsf")

_EXPORT = "audit export"
_NO_EXPORT = "this is not an export of a tenant's events: give what cmk audit export printed, unchanged"


Line = TypeVar("Line", AuditEntry, "ExportEnd")


@dataclass(frozen=True, slots=True)
class ExportEnd:
    """The last line of an export.

    Attributes:
        tenant: whose events they are.
        since: from which time on (ISO 8601, UTC); empty for all.
        at: when it was made (ISO 8601, UTC).
        rows: how many rows there are.
        digest: the SHA-256 of the rows' hashes, in hexadecimal.
        key_id: the record key that authenticates this line; empty without one.
        mac: its HMAC-SHA-256, in hexadecimal; empty without one.
    """

    tenant: str
    since: str
    at: str
    rows: int
    digest: str
    key_id: str = ""
    mac: str = ""

    def message(self) -> bytes:
        """Return what the MAC is over."""
        return msgspec.msgpack.encode((self.tenant, self.since, self.at, self.rows, self.digest))


def export_lines(
    tenant: str,
    since: datetime | None,
    entries: Iterable[AuditEntry],
    key: RecordKey | None,
    form: ExportFormat = "jsonl",
) -> Iterator[str]:
    """Return the lines of an export.

    Args:
        tenant: whose events they are.
        since: leaves out the rows before this time; one without a time zone is in UTC.
        entries: the tenant's rows, oldest first.
        key: authenticates the last line; ``None`` if there is no record key.
        form: what the lines are: the rows as they are stored, or events of OCSF.

    Raises:
        ConfigurationError: there is no such form.
    """
    if form not in FORMATS:
        raise ConfigurationError(f"{named(form)} is not an export format: give one of {', '.join(FORMATS)}")
    start = None if since is None else as_utc(since)
    rows, digest = 0, sha256()
    for entry in entries:
        if start is not None and datetime.fromisoformat(entry.at) < start:
            continue
        rows += 1
        digest.update(str(entry.hash).encode())
        yield _line(entry, form)
    begins = "" if start is None else start.isoformat()
    end = ExportEnd(tenant, begins, utc_now().isoformat(timespec="seconds"), rows, digest.hexdigest())
    if key is not None:
        end = replace(end, key_id=key.id, mac=key.mac(_EXPORT, end.message()).hex())
    yield _line(end, form)


def check_export(
    lines: Iterable[str | bytes],
    earlier: Iterable[str | bytes] | None = None,
    checker: Checker | None = None,
) -> tuple[ExportEnd, list[str]]:
    """Check an export; neither the database nor a KEK is needed.

    Args:
        lines: its lines.
        earlier: the lines of an export of the same tenant that was made before.
        checker: checks MACs too, for those who have the record key.

    Returns:
        Its last line, and a sentence for each problem.

    Raises:
        ConfigurationError: it is not an export.
    """
    end, rows, problems = _read(lines)
    if len(rows) != end.rows or sha256("".join(row.hash for row in rows).encode()).hexdigest() != end.digest:
        problems.append(f"the rows are not the {end.rows} that the last line vouches for")
    before = 0
    for row in rows:
        if row.tenant != end.tenant:
            problems.append(f"row {row.seq} is another tenant's")
        if row.computed_hash() != row.hash:
            problems.append(f"row {row.seq} was changed: its hash is another")
        if row.seq <= before:
            problems.append(f"row {row.seq} stands where no row belongs")
        before = row.seq
        if checker is not None and checker.row(row) is Authenticity.FORGED:
            problems.append(f"row {row.seq} has a MAC that the record key did not make")
    if checker is not None and (
        checker.check(_EXPORT, end.message(), end.key_id, end.mac) is not Authenticity.AUTHENTIC
    ):
        problems.append("the record key did not make the last line's MAC")
    if earlier is not None:
        problems += _missing(end, rows, earlier)
    return end, problems


def _missing(end: ExportEnd, rows: list[AuditEntry], earlier: Iterable[str | bytes]) -> list[str]:
    was, rows_then, _ = _read(earlier)
    if was.tenant != end.tenant:
        return [f"the earlier export is of tenant {was.tenant!r}"]
    now = {row.seq: row for row in rows}
    begins = datetime.fromisoformat(end.since) if end.since else None
    wanted = [one for one in rows_then if begins is None or datetime.fromisoformat(one.at) >= begins]
    return [
        f"row {one.seq} is not the one that an earlier export has"
        for one in wanted
        if now.get(one.seq) != one
    ]


def _line(one: AuditEntry | ExportEnd, form: ExportFormat) -> str:
    return msgspec.json.encode(_event(one) if form == "ocsf" else asdict(one)).decode()


def _event(one: AuditEntry | ExportEnd) -> dict[str, Any]:
    if isinstance(one, AuditEntry):
        return ocsf.of_row(one)
    return ocsf.of_end(one.tenant, one.at, asdict(one))


def _read(lines: Iterable[str | bytes]) -> tuple[ExportEnd, list[AuditEntry], list[str]]:
    """Return the last line of an export, its rows, and a sentence for each event that is not its row's."""
    rows: list[AuditEntry] = []
    problems: list[str] = []
    last: Any = None
    try:
        for line in lines:
            if not line.strip():
                continue
            if last is not None:
                rows.append(_decoded(last, AuditEntry, problems))
            last = msgspec.json.decode(line)
        if last is not None:
            return _decoded(last, ExportEnd, problems), rows, problems
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError):
        pass
    raise ConfigurationError(_NO_EXPORT)


def _decoded(line: Any, kind: type[Line], problems: list[str]) -> Line:
    if not isinstance(line, dict) or "unmapped" not in line:
        return msgspec.convert(line, kind)
    found = msgspec.convert(line["unmapped"], kind)
    if _event(found) != line:
        which = f"row {found.seq}" if isinstance(found, AuditEntry) else "the last line"
        problems.append(f"the event of {which} was changed: it says something else than its unmapped fields")
    return found
