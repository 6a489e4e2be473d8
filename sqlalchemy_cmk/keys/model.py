"""The small values of the keyring: a DEK as it is stored, a DEK that is open, a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy_cmk.keys.audit_chain import AuditEvent
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.sealing import ColumnCipher, Suite, column_key, header_of


class Purpose(StrEnum):
    """What a DEK is for: ``seal`` rotates freely, ``fixed`` stays so that equality holds."""

    SEAL = "seal"
    FIXED = "fixed"

    @classmethod
    def of(cls, suite: Suite) -> Purpose:
        """Return the purpose whose DEKs serve a suite."""
        return cls.FIXED if suite is Suite.SIV else cls.SEAL


class DekState(StrEnum):
    """The life of a DEK."""

    ACTIVE = "active"
    RETIRED = "retired"
    DESTROYED = "destroyed"


class TenantState(StrEnum):
    """How it stands with a tenant's KEK, as the last process that asked found it."""

    OK = "ok"
    REVOKED = "revoked"
    SHREDDED = "shredded"


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A tenant as it is stored; ``epoch`` rises with every change of its keys."""

    name: str
    kek_uri: str
    epoch: int
    state: TenantState = TenantState.OK


@dataclass(frozen=True, slots=True)
class DekRecord:
    """A DEK as it is stored: wrapped, perhaps by several KEKs; any one opens it.

    Attributes:
        seen_at: when the tenant's KEK last opened one.
        retired_at: since when another is active; ``None`` while this one is.
    """

    id: bytes
    tenant: str
    purpose: Purpose
    state: DekState
    wrappings: tuple[Wrapped, ...]
    tenant_state: TenantState = TenantState.OK
    seen_at: datetime | None = None
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What one transaction does to a tenant's keys.

    Attributes:
        events: what the audit trail says of it.
        kek_uri: the tenant's KEK from now on, if another.
        state: the tenant's state from now on, if another.
        new: DEKs to add, active.
        retire: ids of DEKs to retire.
        destroy: ids of DEKs to destroy.
        wrappings: by DEK id, the wrappings that take the place of all it has.
    """

    events: tuple[AuditEvent, ...]
    kek_uri: str | None = None
    state: TenantState | None = None
    new: tuple[DekRecord, ...] = ()
    retire: tuple[bytes, ...] = ()
    destroy: tuple[bytes, ...] = ()
    wrappings: Mapping[bytes, tuple[Wrapped, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TenantLine:
    """A tenant's row in the tenants table, for people to read."""

    tenant: str
    kek_uri: str
    state: TenantState
    reason: str | None
    state_since: datetime
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """One line of ``Keyring.status()``.

    Attributes:
        tenant: the tenant's name; ``""`` is the platform.
        owner: ``"platform"`` where the platform's KEK wraps its DEKs, ``"customer"`` elsewhere.
        kek_uri: the KEK that wraps its new DEKs.
        versions: the versions of its KEKs that wrap its DEKs now.
        active: how many DEKs are active (at most one for each purpose).
        retired: how many older DEKs still open values.
        open: how many of them are open in this process now.
        state: ``ok``, ``revoked`` or ``shredded``, as the last process that asked the KEK found it.
        reason: why it is revoked.
        state_since: since when it is in that state (UTC).
        seen_at: when the KEK last opened a DEK, to within ten minutes (UTC); ``None`` where it never did.
    """

    tenant: str
    owner: str
    kek_uri: str
    versions: tuple[str, ...]
    active: int
    retired: int
    open: int
    state: TenantState
    reason: str | None
    state_since: datetime
    seen_at: datetime | None


class OpenedDek:
    """A DEK in the clear, with the keys of the columns that use it. Never shown by ``repr``.

    Ciphers are not kept here: an AES-GCM cipher takes more than 2 KiB, its key 32 bytes.

    Attributes:
        deadline: when it has to be proven again, in seconds of the keyring's clock.
        proven_at: when the KEK last unwrapped it, on the same clock.
    """

    __slots__ = ("_column_keys", "_key", "deadline", "id", "proven_at", "purpose", "tenant")

    def __init__(self, record: DekRecord, key: bytes, proven_at: float, deadline: float) -> None:
        self.id = record.id
        self.tenant = record.tenant
        self.purpose = record.purpose
        self.proven_at = proven_at
        self.deadline = deadline
        self._key = key
        self._column_keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"<OpenedDek {self.id.hex()} of tenant {self.tenant!r}>"

    def cipher(self, context: str) -> ColumnCipher:
        """Return a cipher for a column."""
        suite = Suite.SIV if self.purpose is Purpose.FIXED else Suite.GCM
        key = self._column_keys.get(context)
        if key is None:
            key = self._column_keys[context] = column_key(self._key, suite, context)
        return ColumnCipher(key, header_of(suite, self.id), context)
