"""What switching a tenant's keys off will do, as it is reported. See :func:`~.impact.impact_of`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy_cmk.databases.statistics import Amount
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy
from sqlalchemy_cmk.keys.records import TenantKeys


@dataclass(frozen=True, slots=True)
class ColumnImpact:
    """A sealed column with values under the tenant's keys.

    Attributes:
        name: the column's name.
        values: how many values of the tenant it has; with ``exact``, those sealed under its DEKs.
    """

    name: str
    values: Amount


@dataclass(frozen=True, slots=True)
class TableImpact:
    """A table with rows of the tenant.

    Attributes:
        name: the table's name, with its schema.
        rows: how many rows of the tenant it has.
        columns: its sealed columns.
        read_at: when the table was last read, by whichever tenant (UTC); ``None`` if it is not known.
        written_at: when it was last written.
        problem: why it cannot be looked at; empty if it was.
    """

    name: str
    rows: Amount
    columns: tuple[ColumnImpact, ...]
    read_at: datetime | None = None
    written_at: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Work that cannot go on.

    Attributes:
        kind: ``"index"``, ``"run"`` or ``"conversion"``.
        name: the hidden column of a search index, the name of a re-keying run, or the column that a
            migration converts.
        what: what becomes of it.
    """

    kind: str
    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Times:
    """When the last use of a cached key begins, at the latest, in seconds.

    Attributes:
        refused: after a KEK that can be reached refuses.
        unreachable: after the last proof, where it cannot be reached.
        locked: after :meth:`Keyring.lock`, in processes that reach the key tables.
        lock_unseen: after the last proof, in processes that do not reach them.
    """

    refused: float
    unreachable: float
    locked: float
    lock_unseen: float

    @classmethod
    def of(cls, cache: CachePolicy, keys: TenantKeys) -> Times:
        """Return the times of a tenant's keys, by a keyring's settings."""
        given = keys.tenant.outage_grace
        grace = cache.outage_grace if given is None else given
        longest = max(cache.revalidate_after, grace)
        return cls(cache.revalidate_after, longest, cache.lock_check, cache.lock_grace)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The other tenants that a KEK serves.

    Attributes:
        kek_uri: the KEK.
        count: how many there are, as stored.
        names: the first of them.
    """

    kek_uri: str
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """What switching a tenant's keys off will do.

    Attributes:
        tenant: the tenant's name; ``""`` is the platform.
        state: the state of its keys now.
        keks: the KEKs that wrap its DEKs. Any one of them opens: all have to be switched off.
        exact: whether the rows were counted.
        tables: the tables with rows of the tenant.
        proven_at: when a KEK last opened one of its DEKs, to within ten minutes (UTC).
        opened_at: when a process last opened one that it did not hold, by the audit trail (UTC).
        opened_by: who that was.
        stops: work that cannot go on.
        times: when cached keys are gone.
        neighbours: other tenants under the same KEKs.
        earlier_keks: KEKs by which its DEKs were wrapped before: old backups hold these wrappings.
        unknown: what could not be found out, one sentence for each.
    """

    tenant: str
    state: TenantState
    keks: tuple[str, ...]
    exact: bool
    tables: tuple[TableImpact, ...]
    proven_at: datetime | None
    opened_at: datetime | None
    opened_by: str
    stops: tuple[Stop, ...]
    times: Times
    neighbours: tuple[Neighbours, ...]
    earlier_keks: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def remains(self) -> tuple[str, ...]:
        """What backups and copies keep, one sentence for each."""
        sentences = [
            "Backups, replicas and exports of the database keep the sealed values and the wrappings of the "
            "DEKs. They open for anyone who has them and may use the KEK, and for nobody while it is off.",
            "What was opened before and copied elsewhere stays open: exports, mails, caches, search engines.",
        ]
        if self.earlier_keks:
            sentences.append(
                f"Old backups of the key tables hold wrappings by {', '.join(self.earlier_keks)}: switching "
                "the present KEK off does not close them."
            )
        return tuple(sentences)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON holds it: times in ISO 8601, in UTC, durations in seconds."""
        described: dict[str, Any] = _plain(asdict(self))
        return {**described, "remains": list(self.remains)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return value
