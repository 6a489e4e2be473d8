"""Purposes and states, a line of the status, and the opened DEK."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy_cmk.ciphers import ColumnCipher, Opener, cipher_for, opener_for
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.format import Context, Suite, column_info, header_of
from sqlalchemy_cmk.keys.column_keys import DekWithColumnKeys
from sqlalchemy_cmk.runtime.kinds import named
from sqlalchemy_cmk.runtime.secret import Secret


class Purpose(StrEnum):
    """What a DEK is for. Rotating ``randomized`` leaves the others alone: equality and search hold.

    Tokens are made under ``search`` or ``search-2``. A rotation of their keys goes from the one to the other:
    while it lasts each value has a token under both.
    """

    RANDOMIZED = "randomized"
    DETERMINISTIC = "deterministic"
    SEARCH = "search"
    SEARCH_2 = "search-2"

    @classmethod
    def of(cls, suite: Suite) -> Purpose:
        """Return the purpose of the DEKs that seal with a suite."""
        return _PURPOSES[suite]

    @classmethod
    def named(cls, name: Purpose | str) -> Purpose:
        """Return the purpose of this name.

        Raises:
            ConfigurationError: there is none.
        """
        try:
            return cls(name)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"there is no purpose {named(name)}: give randomized, deterministic or search"
            ) from None

    @property
    def is_for_tokens(self) -> bool:
        """Whether DEKs of this purpose make the tokens of search indexes, and seal nothing."""
        return self in SEARCH_PURPOSES


SEARCH_PURPOSES = (Purpose.SEARCH, Purpose.SEARCH_2)

INDEX_KEY_BYTES = 32

_PURPOSES = {Suite.GCM: Purpose.RANDOMIZED, Suite.SIV: Purpose.DETERMINISTIC}
_SUITES = {purpose: suite for suite, purpose in _PURPOSES.items()}


class DekState(StrEnum):
    """The states of a DEK."""

    ACTIVE = "active"
    RETIRED = "retired"
    DESTROYED = "destroyed"


class TenantState(StrEnum):
    """The states of a tenant's keys; of its KEK, as the last process that asked found it.

    ``locked`` was asked for, whatever the KEK says. ``tampered`` is never stored: the key tables do not hold
    what was written there.
    """

    OK = "ok"
    REVOKED = "revoked"
    LOCKED = "locked"
    SHREDDED = "shredded"
    TAMPERED = "tampered"

    @classmethod
    def named(cls, name: TenantState | str) -> TenantState:
        """Return the state of this name.

        Raises:
            ConfigurationError: there is none.
        """
        try:
            return cls(name)
        except (TypeError, ValueError):
            raise ConfigurationError(f"there is no state {named(name)}: give {', '.join(cls)}") from None


@dataclass(frozen=True, slots=True)
class TenantKek:
    """A KEK that wraps a tenant's DEKs.

    Attributes:
        kek_uri: the KEK's URI.
        versions: its versions that wrap them now; none while the tenant has no DEK.
    """

    kek_uri: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """One line of ``Keyring.status()``.

    Attributes:
        tenant: the tenant's name; ``""`` is the platform.
        owner: ``"platform"`` where the platform's KEK wraps its DEKs, ``"customer"`` elsewhere.
        kek_uri: the KEK that wraps its new DEKs.
        keks: every KEK that opens its DEKs, that of new ones first; any one of them opens the data.
        active: the number of active DEKs (at most one for each purpose).
        retired: the number of retired DEKs, which still open values.
        open: the number of DEKs that are open in this process now.
        state: ``ok``, ``revoked`` or ``shredded``, as the last process that asked the KEK found it;
            ``locked`` until it is unlocked; or ``tampered``, where the key tables were altered, and nothing
            else of the line is known then.
        reason: why the KEK refuses, where it does; why it was locked; or what was altered.
        state_since: when it entered that state (UTC).
        seen_at: when the KEK last opened a DEK, to within ten minutes (UTC); ``None`` if it never did.
    """

    tenant: str
    owner: str
    kek_uri: str
    keks: tuple[TenantKek, ...]
    active: int
    retired: int
    open: int
    state: TenantState
    reason: str | None
    state_since: datetime | None
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Proof:
    """A KEK has unwrapped a DEK: when, which, and how long the DEK may be used for it.

    Attributes:
        at: when, in seconds of the keyring's clock.
        by: the KEK's URI and version.
        deadline: when it has to be proven again, on the same clock.
        outage_grace: seconds from the proof for which an outage of the KEK is ridden out.
    """

    at: float
    by: tuple[str, str]
    deadline: float
    outage_grace: float


class OpenedDek:
    """A DEK in the clear, with the column keys derived from it; ``repr`` shows neither.

    Attributes:
        header: the nine bytes that begin every value sealed under it; empty if it seals none.
        deadline: when it has to be proven again, in seconds of the keyring's clock.
        proven_at: when the KEK last unwrapped it, on the same clock.
        proven_by: the URI and the version of the KEK that unwrapped it.
        outage_grace: seconds for which it stays usable, from the last proof, while its KEK cannot be reached.
        rides_out: whether it is in use past its deadline, because its KEK cannot be reached.
        used_at, was_used, used_since_proof, asked, overdue: what
            :class:`~sqlalchemy_cmk.keys.opening.cache.OpenedKeys` notes: when it was last asked for; whether
            that was since it was passed over to make room; whether since its last proof, by this process; how
            many callers are asking its KEK; whether it had to leave memory at the last look.
    """

    __slots__ = (
        "__weakref__",
        "_keys",
        "asked",
        "deadline",
        "header",
        "id",
        "outage_grace",
        "overdue",
        "proven_at",
        "proven_by",
        "purpose",
        "rides_out",
        "tenant",
        "used_at",
        "used_since_proof",
        "was_used",
    )

    def __init__(self, dek_id: bytes, tenant: str, purpose: Purpose, key: Secret, proof: Proof) -> None:
        self.id = dek_id
        self.tenant = tenant
        self.purpose = purpose
        self.proven_at = proof.at
        self.proven_by = proof.by
        self.deadline = proof.deadline
        self.outage_grace = proof.outage_grace
        self.rides_out = False
        self.used_at = proof.at
        self.was_used = False
        self.used_since_proof = False
        self.asked = 0
        self.overdue = False
        suite = _SUITES.get(purpose)
        self.header = b"" if suite is None else header_of(suite, dek_id)
        self._keys = DekWithColumnKeys(key)

    def __repr__(self) -> str:
        return f"<OpenedDek {self.id.hex()} of tenant {self.tenant!r}>"

    def cipher(self, context: Context) -> ColumnCipher:
        """Return the cipher of a column.

        A cipher takes more than 2 KiB: it is made for a batch, and not kept here.

        Args:
            context: what the column's values are bound to.

        Raises:
            ConfigurationError: DEKs of this purpose seal no values.
        """
        return cipher_for(self._column_key(context), self.header, context)

    def opener(self, context: Context, *, hot: bool) -> Opener:
        """Return what opens a column's values; raises as :meth:`cipher`.

        Args:
            context: what the column's values are bound to.
            hot: whether its cipher is kept with it.
        """
        return opener_for(self._column_key(context), self.header, context, hot=hot)

    def index_key(self, info: bytes) -> Secret:
        """Return the key of a search index, 32 bytes.

        Args:
            info: what the key is for; no two indexes have the same.

        Raises:
            ConfigurationError: DEKs of this purpose make no tokens.
        """
        if not self.purpose.is_for_tokens:
            raise ConfigurationError(f"DEK {self.id.hex()} is for {self.purpose} and makes no tokens")
        return self._keys.of(info, INDEX_KEY_BYTES)

    def _column_key(self, context: Context) -> Secret:
        if not self.header:
            raise ConfigurationError(f"DEK {self.id.hex()} is for {self.purpose} and seals no values")
        suite = _SUITES[self.purpose]
        return self._keys.of(column_info(suite, context), suite.key_bytes)
