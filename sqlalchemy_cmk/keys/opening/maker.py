"""Makes DEKs: 32 random bytes, wrapped, proven and committed before anything is sealed under them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future

from sqlalchemy_cmk.errors import CmkError, KeyRevoked
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose, TenantState
from sqlalchemy_cmk.keys.opening.flows import failed
from sqlalchemy_cmk.keys.opening.longest_use import LongestUse
from sqlalchemy_cmk.keys.opening.making import Making, Wish
from sqlalchemy_cmk.keys.opening.observations import Observations
from sqlalchemy_cmk.keys.opening.prover import Prover, Stored
from sqlalchemy_cmk.keys.opening.single_flight import Land
from sqlalchemy_cmk.keys.opening.wrapper import Wrapper
from sqlalchemy_cmk.keys.records import TenantKeys, changed_meanwhile, locked
from sqlalchemy_cmk.keys.storage.store import KeyStore

ATTEMPTS = 50

Loaded = TenantKeys | CmkError | None


class Maker:
    """Makes tenants' DEKs at first use, also when many processes do so at once.

    Args:
        platform_key: the URI of the KEK of tenants without one of their own.
        store: stores DEKs.
        wrapper: calls the providers.
        prover: caches the new DEKs.
        observations: notes that a KEK refuses.
        longest_use: for how long this process uses a DEK.

    Attributes:
        longest_use: as given.
    """

    def __init__(
        self,
        platform_key: str,
        store: KeyStore,
        wrapper: Wrapper,
        prover: Prover,
        observations: Observations,
        longest_use: LongestUse,
    ) -> None:
        self._platform_key = platform_key
        self._store = store
        self._wrapper = wrapper
        self._prover = prover
        self._observations = observations
        self.longest_use = longest_use

    def on(self, store: KeyStore) -> Maker:
        """Return a maker like this one that reads and writes the keys in another store."""
        longest_use = LongestUse(self.longest_use.seconds, store)
        return Maker(self._platform_key, store, self._wrapper, self._prover, self._observations, longest_use)

    def make_all(self, wishes: Iterable[Wish], landed: Land[Wish]) -> None:
        """Make DEKs, wrapped side by side, and commit them; or open those of processes that were first.

        Args:
            wishes: the DEKs to make.
            landed: is given each with the opened DEK, or with why it could not be made: :class:`KeyRevoked`
                where the KEK refuses or the tenant was shredded, :class:`KeyUnavailable` where the KEK or the
                key tables cannot be reached.
        """
        left: dict[Wish, Loaded] = dict.fromkeys(wishes)

        def land(wish: Wish, result: Future[OpenedDek]) -> None:
            del left[wish]
            landed(wish, result)

        for _ in range(ATTEMPTS):
            self._load(left)
            self._add_new(left)
            theirs, missing = self._told_apart(left, land)
            if theirs:
                ids = {record.id: wish for wish, (_, record) in theirs.items()}
                stored = {one[1].id: one for one in theirs.values()}
                found: dict[bytes, Future[OpenedDek]] = {}
                self._prover.prove_all(stored, found.__setitem__)
                for dek_id, result in found.items():
                    land(ids[dek_id], result)
            if missing:
                self._making(land).make(missing)
            if not left:
                return
        for wish in list(left):
            land(wish, failed(changed_meanwhile(wish[0])))

    def _making(self, land: Land[Wish]) -> Making:
        seconds = self.longest_use.seconds
        return Making(self._wrapper, self._store, self._observations, seconds, self._prover, land)

    def _load(self, left: dict[Wish, Loaded]) -> None:
        wanted: dict[str, list[Purpose]] = {}
        for tenant, purpose in left:
            wanted.setdefault(tenant, []).append(purpose)
        noted = self.longest_use.noted(wanted)
        left.update({wish: noted[wish[0]] for wish in left})

    def _add_new(self, left: dict[Wish, Loaded]) -> None:
        """Put in the keys, empty yet, of tenants that have none."""
        new = self._store.new_tenants(
            {tenant for (tenant, _), keys in left.items() if keys is None}, self._platform_key
        )
        left.update({wish: new[wish[0]] for wish in left if wish[0] in new})

    def _told_apart(
        self, left: Mapping[Wish, Loaded], land: Land[Wish]
    ) -> tuple[dict[Wish, Stored], dict[Wish, TenantKeys]]:
        """Return the DEKs that are there by now, and the keys of tenants whose DEKs are not."""
        theirs: dict[Wish, Stored] = {}
        missing: dict[Wish, TenantKeys] = {}
        for wish, keys in list(left.items()):
            tenant, purpose = wish
            if not isinstance(keys, TenantKeys):
                land(wish, failed(keys or changed_meanwhile(tenant)))
            elif keys.tenant.state is TenantState.SHREDDED:
                gone = f"tenant {tenant!r} was shredded: nothing can be sealed for it"
                land(wish, failed(KeyRevoked(gone, tenant)))
            elif keys.tenant.state is TenantState.LOCKED:
                land(wish, failed(locked(tenant)))
            elif (record := keys.active(purpose)) is None:
                missing[wish] = keys
            elif self.longest_use.is_noted(keys, purpose):
                theirs[wish] = keys, record
        return theirs, missing
