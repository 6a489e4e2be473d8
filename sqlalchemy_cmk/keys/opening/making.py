"""Makes DEKs: 32 random bytes, wrapped, proven and committed before anything is sealed under them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from os import urandom

from sqlalchemy_cmk.errors import CmkError, KeyLocked, KeyRevoked
from sqlalchemy_cmk.format import DEK_BYTES, DEK_ID_BYTES
from sqlalchemy_cmk.keys.audit.chain import AuditEvent
from sqlalchemy_cmk.keys.audit.events import EventKind
from sqlalchemy_cmk.keys.manifest.check_value import check_value
from sqlalchemy_cmk.keys.model import DekState, OpenedDek, Purpose
from sqlalchemy_cmk.keys.opening.flows import Flow, done, failed
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.prover import Prover
from sqlalchemy_cmk.keys.opening.single_flight import Land
from sqlalchemy_cmk.keys.opening.wrapper import Unwrapped, Wrapper
from sqlalchemy_cmk.keys.records import DekRecord, KeyChange, TenantKeys, TenantRecord, by_kek
from sqlalchemy_cmk.keys.storage.store import KeyStore
from sqlalchemy_cmk.runtime.clock import this_second
from sqlalchemy_cmk.runtime.parts import in_parts
from sqlalchemy_cmk.runtime.secret import Secret

# A tenant's DEK for a purpose, which is to be made.
Wish = tuple[str, Purpose]
New = tuple[DekRecord, Unwrapped]

# DEKs of so many tenants are committed in one transaction.
TOGETHER = 500


def new_dek(
    wrapper: Wrapper, tenant: TenantRecord, purpose: Purpose, kek_uris: tuple[str, ...], longest_use: float
) -> Flow[tuple[DekRecord, Unwrapped]]:
    """Return a new active DEK, with a proven wrapping by each of these KEKs, and the proof of the first.

    Args:
        wrapper: calls the providers.
        tenant: whose it is.
        purpose: what it is for.
        kek_uris: the KEKs.
        longest_use: seconds for which this process may use it after a proof.
    """
    name, key, dek_id = tenant.name, Secret(urandom(DEK_BYTES)), urandom(DEK_ID_BYTES)
    proofs: list[Unwrapped] = []
    for kek_uri in kek_uris:
        proofs.append((yield from wrapper.wrapping(name, kek_uri, key)))
    wrappings = by_kek(one.by for one in proofs)
    checked, longest = check_value(key, dek_id, purpose, name), max(longest_use, tenant.outage_grace or 0.0)
    made = DekRecord(dek_id, name, purpose, DekState.ACTIVE, wrappings, checked, this_second(), None, longest)
    return made, proofs[0]


def keks_of(keys: TenantKeys) -> tuple[str, ...]:
    """Return the KEKs that wrap a tenant's DEKs, its own first."""
    active = [one for one in keys.deks if one.state is DekState.ACTIVE]
    others = {one.kek_uri for dek in active for one in dek.wrappings}
    return keys.tenant.kek_uri, *sorted(others - {keys.tenant.kek_uri})


class Making:
    """Makes one batch of DEKs. What is wrapped is committed while KEKs that take long are still waited for.

    Args:
        wrapper: calls the providers.
        store: stores DEKs.
        observations: notes that a KEK refuses.
        longest_use: seconds for which this process uses a DEK after a proof.
        prover: caches the new DEKs.
        land: is given each wish with its opened DEK, or with why it could not be made. Those whose tenant's
            keys another process has changed meanwhile are not landed.
    """

    def __init__(
        self,
        wrapper: Wrapper,
        store: KeyStore,
        observations: Observations,
        longest_use: float,
        prover: Prover,
        land: Land[Wish],
    ) -> None:
        self._wrapper = wrapper
        self._store = store
        self._observations = observations
        self._longest_use = longest_use
        self._prover = prover
        self._land = land
        self._wanted: dict[Wish, TenantKeys] = {}
        self._wrapped: dict[str, list[New]] = {}

    def make(self, wanted: Mapping[Wish, TenantKeys]) -> None:
        """Make DEKs.

        Args:
            wanted: by wish, the keys of its tenant, which has no active DEK of that purpose.
        """
        self._wanted = dict(wanted)
        # No KEK is called for what could not be written.
        self._store.require_writable()
        self._ensure_keks()
        flows = {wish: self._new(keys, wish[1]) for wish, keys in self._wanted.items()}
        self._wrapper.calls.follow_all(flows, self._have_wrapped, self._commit)
        self._commit()

    def _ensure_keks(self) -> None:
        """Let providers make the KEKs that wrap nothing yet; what needs one that cannot be made fails."""
        allowed: dict[str, None] = {}
        for wish, keys in list(self._wanted.items()):
            try:
                self._wrapper.require_allowed(wish[0], keys.tenant.kek_uri)
            except CmkError as error:
                self._fail(wish, error)
            else:
                allowed[keys.tenant.kek_uri] = None
        refused: dict[str, BaseException] = {}

        def ensured(kek_uri: str, result: Future[None]) -> None:
            if (error := result.exception()) is not None:
                refused[kek_uri] = error

        self._wrapper.calls.follow_all(self._wrapper.ensuring(allowed, self._store), ensured)
        for wish, keys in list(self._wanted.items()) if refused else ():
            if keys.tenant.kek_uri in refused:
                self._fail(wish, refused[keys.tenant.kek_uri])

    def _new(self, keys: TenantKeys, purpose: Purpose) -> Flow[New]:
        try:
            with self._observations.noting(keys):
                return (
                    yield from new_dek(self._wrapper, keys.tenant, purpose, keks_of(keys), self._longest_use)
                )
        except KeyRevoked as error:
            raise KeyRevoked(str(error), keys.tenant.name) from error

    def _have_wrapped(self, wish: Wish, result: Future[New]) -> None:
        error = result.exception()
        if error is not None:
            self._fail(wish, error)
        else:
            self._wrapped.setdefault(wish[0], []).append(result.result())

    def _commit(self) -> None:
        """Commit what is wrapped, and cache it."""
        wrapped, self._wrapped = self._wrapped, {}
        for tenants in in_parts(sorted(wrapped), TOGETHER):
            self._commit_together({tenant: wrapped[tenant] for tenant in tenants})

    def _commit_together(self, wrapped: Mapping[str, list[New]]) -> None:
        plans = []
        for tenant, new in wrapped.items():
            keys = self._wanted[tenant, new[0][0].purpose]
            plans.append(
                (keys, KeyChange(tuple(_event(*one) for one in new), new=tuple(dek for dek, _ in new)))
            )
        try:
            committed = self._store.apply_all(plans)
        except CmkError as error:
            for wish in [(tenant, dek.purpose) for tenant, new in wrapped.items() for dek, _ in new]:
                self._fail(wish, error)
            return
        for keys, _ in plans:
            for dek, proof in wrapped[keys.tenant.name] if keys.tenant.name in committed else ():
                self._land((dek.tenant, dek.purpose), self._kept(keys, dek, proof))

    def _kept(self, keys: TenantKeys, dek: DekRecord, proof: Unwrapped) -> Future[OpenedDek]:
        try:
            return done(self._prover.keep(keys.tenant, dek, proof))
        except KeyLocked as error:
            return failed(error)

    def _fail(self, wish: Wish, error: BaseException) -> None:
        del self._wanted[wish]
        self._land(wish, failed(error))


def _event(dek: DekRecord, proof: Unwrapped) -> AuditEvent:
    wrapped = proof.by
    return AuditEvent(
        EventKind.WRAP,
        dek.tenant,
        dek.id.hex(),
        wrapped.kek_uri,
        wrapped.kek_version,
        f"{dek.purpose}, call {proof.call}",
    )
