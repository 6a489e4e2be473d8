"""The small values of the keyring: a DEK as it is stored, a DEK that is open, a tenant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class TenantRecord:
    """A tenant as it is stored; ``epoch`` rises with every change of its keys."""

    name: str
    kek_uri: str
    epoch: int


@dataclass(frozen=True, slots=True)
class DekRecord:
    """A DEK as it is stored: wrapped, perhaps by several KEKs; any one opens it."""

    id: bytes
    tenant: str
    purpose: Purpose
    state: DekState
    wrappings: tuple[Wrapped, ...]


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """One line of ``Keyring.status()``.

    Attributes:
        tenant: the tenant's name; ``""`` is the platform.
        kek_uri: the KEK that wraps its new DEKs.
        active: how many DEKs are active (at most one for each purpose).
        retired: how many older DEKs still open values.
        open: how many of them are open in this process now.
    """

    tenant: str
    kek_uri: str
    active: int
    retired: int
    open: int


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
