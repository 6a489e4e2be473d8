"""What a certificate says: how a tenant stood before and after something was done with its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy_cmk.keys.audit.chain import AuditEntry

FORMAT = "sqlalchemy_cmk certificate 1"

NOT_COVERED = (
    "backups and dumps of the database, and what is restored from them",
    "replicas that had not followed yet, and copies of tables that no model declares",
    "exports, logs, caches, search engines and other systems that were given values",
    "columns that are not sealed",
    "rows written after they were counted",
)


@dataclass(frozen=True, slots=True)
class WrappedBy:
    """A KEK version that wraps a DEK, and the algorithm."""

    kek_uri: str
    kek_version: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class CertifiedDek:
    """A DEK as it stood.

    Attributes:
        id: its id in hexadecimal.
        purpose: what it is for.
        state: ``active``, ``retired`` or ``destroyed``.
        made_at: when it was made (ISO 8601, UTC).
        retired_at: when another took its place; empty if none did.
        wrappings: what wraps it; nothing where it was destroyed.
    """

    id: str
    purpose: str
    state: str
    made_at: str
    retired_at: str
    wrappings: tuple[WrappedBy, ...]


@dataclass(frozen=True, slots=True)
class CertifiedKeys:
    """A tenant's keys as they stood, verified by their manifest.

    Attributes:
        state: the tenant's state.
        kek_uri: the KEK that wraps its new DEKs; empty if it had no keys yet.
        epoch: how often its keys had changed.
        authenticated: whether a record key has authenticated them; without one the database was believed.
        deks: its DEKs, also those that were destroyed.
    """

    state: str
    kek_uri: str
    epoch: int
    authenticated: bool
    deks: tuple[CertifiedDek, ...]


@dataclass(frozen=True, slots=True)
class CountedValues:
    """The values of one sealed column in a tenant's rows.

    Attributes:
        column: its name.
        by_dek: how many are under each of the tenant's DEKs, by its id in hexadecimal.
        other: how many begin as sealed values do and name none of them.
        unsealed: how many begin otherwise: not sealed yet, or damaged.
        null: how many are NULL.
    """

    column: str
    by_dek: Mapping[str, int]
    other: int
    unsealed: int
    null: int


@dataclass(frozen=True, slots=True)
class CountedTable:
    """A tenant's rows in one table."""

    table: str
    rows: int
    columns: tuple[CountedValues, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """What was found at one time.

    Attributes:
        at: when the counting began (ISO 8601, UTC): the rows are as of one moment after it.
        until: when it had ended.
        keys: the tenant's keys, read before ``at``.
        tables: its rows in each table with sealed columns of its own.
        trail_seq: the number of the audit trail's last row, read before the keys.
        trail_hash: that row's hash.
    """

    at: str
    until: str
    keys: CertifiedKeys
    tables: tuple[CountedTable, ...]
    trail_seq: int
    trail_hash: str

    def under(self, state: str) -> int:
        """Return how many values are under DEKs in a state."""
        ids = {one.id for one in self.keys.deks if one.state == state}
        counted = (one.by_dek.items() for table in self.tables for one in table.columns)
        return sum(count for items in counted for dek_id, count in items if dek_id in ids)

    @property
    def rows(self) -> int:
        """How many rows the tenant has in the tables."""
        return sum(table.rows for table in self.tables)

    @property
    def not_sealed(self) -> int:
        """How many values are neither NULL nor under one of the tenant's DEKs."""
        return sum(one.other + one.unsealed for table in self.tables for one in table.columns)


@dataclass(frozen=True, slots=True)
class CertifiedFile:
    """A file that rows were exported to.

    Attributes:
        name: its name in the folder.
        table: the table.
        rows: how many rows it has.
        sha256: the SHA-256 (FIPS 180-4) of its bytes, in hexadecimal.
    """

    name: str
    table: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was done with a tenant's keys, when and by whom, and how the tenant stood before and after.

    Attributes:
        format: :data:`FORMAT`.
        id: names this certificate (RFC 9562).
        operation: what was done, as the command is called.
        tenant: whose keys; ``""`` is the platform.
        actor: who has done it, as the application says.
        reason: why; empty if nobody said so.
        made_with: the library and its version.
        before: how the tenant stood before.
        after: how it stood after.
        trail: the tenant's rows of the audit trail between the two, as they are stored.
        result: what the operation said of itself, such as counts.
        files: the files that rows were exported to.
        not_covered: what the certificate says nothing about.
    """

    format: str
    id: str
    operation: str
    tenant: str
    actor: str
    reason: str
    made_with: str
    before: Observed
    after: Observed
    trail: tuple[AuditEntry, ...]
    result: Mapping[str, str | int] = field(default_factory=dict)
    files: tuple[CertifiedFile, ...] = ()
    not_covered: tuple[str, ...] = NOT_COVERED

    @property
    def destroyed(self) -> tuple[str, ...]:
        """The ids of the DEKs that were destroyed meanwhile."""
        were = {one.id for one in self.before.keys.deks if one.state == "destroyed"}
        now = (one.id for one in self.after.keys.deks if one.state == "destroyed")
        return tuple(one for one in now if one not in were)
