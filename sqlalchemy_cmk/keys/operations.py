"""What a keyring does with the keys of one engine's database. See :class:`KeyOperations`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from itertools import islice

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.arguments import PURPOSES, TENANTS, names_of
from sqlalchemy_cmk.keys.kek_uses import KekQuestions, KekUse
from sqlalchemy_cmk.keys.keyring_parts import KeyringParts
from sqlalchemy_cmk.keys.lifecycle.assigning import AssignReport
from sqlalchemy_cmk.keys.model import DekState, OpenedDek, Purpose, TenantState, TenantStatus
from sqlalchemy_cmk.keys.records import TenantKeys
from sqlalchemy_cmk.keys.status import read_status
from sqlalchemy_cmk.keys.storage.reader import PAGE
from sqlalchemy_cmk.keys.storage.tenant_filter import TenantFilter
from sqlalchemy_cmk.keys.warming import warm
from sqlalchemy_cmk.runtime.because import because
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.kinds import COUNT, KEK_URI, Kind, takes, text
from sqlalchemy_cmk.scope import key_owner

DEK_ID = Kind((bytes,), "the id of a DEK, 8 bytes")
TENANT = text("a tenant's name")
PURPOSE = Kind((Purpose,), "a Purpose, such as Purpose.RANDOMIZED")


class KeyOperations(KeyringParts):
    """Everything about the keys of one database, which :attr:`keys` determines.

    Each method raises :class:`ConfigurationError` if that is ambiguous.
    """

    @takes(kek_uri=KEK_URI)
    def assign(self, tenant: object, kek_uri: str, *, fresh_dek: bool = False) -> None:
        """Wrap a tenant's DEKs with another KEK; no data row is touched. A dry run does nothing.

        See :meth:`Lifecycle.assign`.
        """
        if self.dry_run is None:
            off_the_loop(lambda: self.lifecycle.assign(tenant, kek_uri, fresh_dek=fresh_dek))

    @takes(tenants=TENANTS, kek_uri=KEK_URI)
    def assign_many(
        self, tenants: Iterable[object], kek_uri: str, *, fresh_dek: bool = False
    ) -> AssignReport:
        """Move many tenants to a KEK, side by side; one that fails stays where it is, and is reported.

        A dry run does nothing. See :meth:`Lifecycle.assign_many`.
        """
        if self.dry_run is not None:
            return AssignReport()
        return off_the_loop(lambda: self.lifecycle.assign_many(tenants, kek_uri, fresh_dek=fresh_dek))

    def because(self, reason: str, *, actor: str | None = None) -> AbstractContextManager[None]:
        """Say why keys are used in a ``with`` block, and who uses them, for the audit trail.

        Audit events of the block have the reason in their ``detail``: keys opened or made, changes of keys.
        The reason follows ``await`` and new tasks; other threads do not see it.

        Args:
            reason: why, such as a case's number; at most 200 characters, and no secret.
            actor: who; ``None`` for the keyring's ``actor``.

        Raises:
            ConfigurationError: the reason is empty, or one of them is not a string or too long.
        """
        return because(reason, actor)

    @takes(reason=text("a text"))
    def lock(self, tenant: object, *, reason: str = "") -> None:
        """Close a tenant's keys now, in every process, even if its KEK allows access, until :meth:`unlock`.

        This process drops its opened DEKs before the call returns, others within ``lock_check`` and the time
        of one read. Then none of the tenant's data or keys is opened, sealed, wrapped or made: every use
        raises :class:`KeyLocked`, which is a :class:`KeyRevoked`. The tenant can still be shredded. A dry run
        does nothing.

        Args:
            tenant: the tenant's name; ``""`` is the platform.
            reason: why, for the status and the audit trail; no secret.

        Raises:
            ConfigurationError: the tenant has no keys.
            KeyRevoked: it was shredded.
            KeyUnavailable: the key tables cannot be written now.
        """
        if self.dry_run is None:
            off_the_loop(lambda: self.keys.locking.lock(tenant, reason))

    @takes(reason=text("a text"))
    def unlock(self, tenant: object, *, reason: str = "") -> None:
        """Let a tenant's keys be used again; its KEK is asked at the next use. A dry run does nothing.

        Args:
            tenant: the tenant's name; ``""`` is the platform.
            reason: why, for the audit trail; no secret.

        Raises: as :meth:`lock`, and :class:`ApprovalRequired` where a second person has to approve it.
        """
        if self.dry_run is None:
            off_the_loop(lambda: self.keys.locking.unlock(tenant, reason))

    @takes(purposes=PURPOSES)
    def warm(
        self,
        tenants: Iterable[object],
        purposes: Iterable[Purpose | str] = (Purpose.RANDOMIZED,),
        *,
        new: bool = False,
    ) -> None:
        """Open the active DEKs of these tenants now, making those that do not exist. A dry run does nothing.

        They are opened side by side. If one fails, the others are open when its error is raised.

        Args:
            tenants: the tenants' names; ``""`` is the platform.
            purposes: ``"randomized"``, and ``"deterministic"`` if there are deterministic columns. Those for
                the tokens of search indexes are added if the models declare indexes.
            new: whether to accept tenants without keys. A mistyped name then becomes a tenant.

        Raises:
            ConfigurationError: a tenant has no keys yet, and ``new`` is not ``True``. Nothing is opened or
                made then.
        """
        kinds, names = tuple(dict.fromkeys(map(Purpose.named, purposes))), names_of(tenants)
        if self.dry_run is None:
            warm(self.keys, names, kinds, new=new)

    def forget(self, tenant: object | None = None) -> None:
        """Drop the opened DEKs of a tenant, or of every tenant, from this process.

        The next use opens them again. Providers forget which version of each KEK is the newest.
        """
        self.keys.opener.forget(None if tenant is None else key_owner(tenant))
        self.keys.wrapper.forget()

    def notice_rotations(self) -> None:
        """Look up now which DEKs other processes have retired, and stop sealing under them.

        Without this call it is noticed when the DEKs are proven again. Opened DEKs stay open, and no KEK is
        called. One query returns those of the DEKs under which this process seals that are no longer active.
        """
        opened, store = self.opened, self.store
        for dek_id in off_the_loop(lambda: store.no_longer_active(opened.active_ids())):
            opened.deactivate(dek_id)

    @takes(kek=KEK_URI.or_none, after=text("a tenant's name").or_none, limit=COUNT.or_none)
    def status(
        self,
        tenants: Iterable[object] | None = None,
        *,
        state: TenantState | str | None = None,
        kek: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[TenantStatus]:
        """Return one line for each tenant that has keys, in the order of their names; no KEK is called.

        Each line is verified. But ``state`` and ``kek`` select tenants by what their rows say: a tenant whose
        row was altered may be missing, and is ``tampered`` if it is shown, whichever state was asked for.
        ``state="tampered"`` reads and verifies every tenant.

        The next page is ``status(after=lines[-1].tenant, limit=limit)``, with the same filters.

        Args:
            tenants: only tenants with these names; ``None`` for all.
            state: only tenants in this state.
            kek: only tenants of whose DEKs this KEK wraps any, or is to wrap the first.
            after: only tenants whose names come after this one, in the database's order.
            limit: the most lines to return, 1 or more; ``None`` for all.

        Raises:
            ConfigurationError: there is no such state, ``limit`` is less than 1, or ``tenants`` is one name.
            KeyUnavailable: the key tables cannot be reached now.
        """
        if limit is not None and limit < 1:
            raise ConfigurationError("limit counts the lines of a page: give 1 or more, or None for all")
        names = None if tenants is None else names_of(tenants)
        which = TenantFilter(names, None if state is None else TenantState.named(state), kek, after)
        keys, size = self.keys, min(limit or PAGE, PAGE)

        def read() -> list[TenantStatus]:
            keys.background.flush()
            return list(islice(read_status(keys.store, keys.opened, self.platform_key, which, size), limit))

        return off_the_loop(read)

    @takes(kek=KEK_URI.or_none)
    def count(self, *, kek: str | None = None) -> Counter[TenantState]:
        """Return how many tenants there are in each state, counted in the database.

        This trusts the table of tenants: nothing is verified, and an altered row counts as what it says now.
        :meth:`status` verifies each tenant that it returns.

        Args:
            kek: as for :meth:`status`.
        """
        keys = self.keys

        def read() -> Counter[TenantState]:
            keys.background.flush()
            return keys.store.count(TenantFilter(kek_uri=kek))

        return off_the_loop(read)

    def kek_uses(self, tenants: Iterable[object] | None = None, *, newest: bool = True) -> list[KekUse]:
        """Return which KEK versions wrap tenants' DEKs, and whether each still unwraps what it wrapped.

        No KEK is asked for a tenant that is locked.

        Args:
            tenants: their names; ``None`` for all.
            newest: whether to ask each KEK for its newest version too.
        """
        keys, which = self.keys, TenantFilter(None if tenants is None else names_of(tenants))
        questions = KekQuestions(keys.wrapper, keys.observations, newest=newest)

        def ask() -> list[KekUse]:
            pages = keys.store.pages(which)
            living = ([one for _, one in page if isinstance(one, TenantKeys)] for page in pages)
            return [use for page in living for use in questions.uses(page)]

        return off_the_loop(ask)

    def dek_states(self) -> dict[bytes, DekState]:
        """Return the state of every DEK that exists or existed, by its id (8 bytes)."""
        return off_the_loop(self.store.dek_states)

    @takes(dek_id=DEK_ID)
    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; ``None`` if no such DEK exists.

        Raises:
            KeyRevoked: its KEK refuses, or it was destroyed.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        return self.keys.dek(dek_id)

    @takes(tenant=TENANT, purpose=PURPOSE)
    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; it is made at first use.

        Raises:
            KeyRevoked: its KEK refuses, or the tenant was shredded.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        return self.keys.active(tenant, purpose)

    @takes(tenant=TENANT, purpose=PURPOSE)
    def existing(self, tenant: str, purpose: Purpose) -> OpenedDek | None:
        """Return the DEK that seals a tenant's new values; ``None`` if there is none, and none is made.

        Raises:
            KeyRevoked: its KEK refuses, or the tenant was shredded.
            KeyUnavailable: its KEK or the key tables cannot be reached, and ``outage_grace`` is over.
        """
        self._refuse_dry_run()
        return self.keys.existing(tenant, purpose)

    def _refuse_dry_run(self) -> None:
        if self.dry_run is not None:
            raise ConfigurationError("a dry run has no keys: nothing is sealed, and no KEK is asked")
