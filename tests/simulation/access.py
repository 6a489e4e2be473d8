"""For how long each process may go on with a DEK whose KEKs give no access any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tests.simulation.stored import Dek, Keys
from tests.simulation.vault import Vault

if TYPE_CHECKING:
    from tests.simulation.process import Process


class Access:
    """Since when no KEK opens a DEK, and when a process must have noticed.

    Args:
        vault: knows which KEKs give access.
        now: returns the simulated time.
    """

    def __init__(self, vault: Vault, now: Callable[[], float]) -> None:
        self._vault = vault
        self._now = now
        self._closed: dict[bytes, float] = {}
        self._keks: dict[bytes, set[str]] = {}
        self._graces: dict[str, set[float | None]] = {}

    def note(self, keys: Keys) -> None:
        """Note what the key tables and the vault say now."""
        for name, tenant in keys.tenants.items():
            self._graces.setdefault(name, set()).add(tenant.outage_grace)
        for dek in keys.deks.values():
            keks = {uri for uri, _, _ in dek.wrappings}
            self._keks.setdefault(dek.id, set()).update(keks)
            if any(map(self._vault.gives, keks)):
                self._closed.pop(dek.id, None)
            else:
                self._closed.setdefault(dek.id, self._now())

    def overdue(self, process: Process, dek: Dek) -> float | None:
        """Seconds since access ended, where that is longer than this process may use the DEK."""
        since = self._closed.get(dek.id)
        if since is None or self._now() < since + self._bound(process, dek, since):
            return None
        return self._now() - since

    def _bound(self, process: Process, dek: Dek, since: float) -> float:
        """An outage of what proves this DEK is ridden out; one of another KEK is none."""
        revalidate_after = process.settings.revalidate_after
        if process.troubles.unreachable(self._keks[dek.id]) < since:
            return revalidate_after
        return max(revalidate_after, *self._each_grace(process, dek.tenant))

    def _each_grace(self, process: Process, tenant: str) -> Iterable[float]:
        """Every grace that the tenant had: the DEK keeps the one that was in force at its last proof."""
        for grace in self._graces[tenant]:
            yield process.settings.outage_grace if grace is None else grace


class Troubles:
    """What has happened to a process, and when last.

    Args:
        now: returns the simulated time.
    """

    # What every use of a KEK needs besides the KEK.
    DATABASE, THREADS = "database", "threads"
    LIE = "lie"

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last: dict[str, float] = {}

    def note(self, what: str) -> None:
        """Note that a KEK or what else is needed was out of reach, or what else has happened."""
        self._last[what] = self._now()

    def note_refusal(self, kek: str) -> None:
        """Note that a KEK has refused."""
        self.note(f"refusal by {kek}")

    def at(self, *what: str) -> float:
        """When one of these last happened."""
        return max(self._last.get(one, float("-inf")) for one in what)

    def unreachable(self, keks: Iterable[str]) -> float:
        """When what the use of one of these KEKs needs was last out of reach."""
        return self.at(*keks, self.DATABASE, self.THREADS)

    def refused(self, keks: Iterable[str]) -> float:
        """When one of these KEKs last refused."""
        return self.at(*(f"refusal by {one}" for one in keks))
