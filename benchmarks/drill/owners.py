"""What happens to the KEKs in a drill: what their owners, networks and services do, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from benchmarks.drill.setting import KEK
from benchmarks.drill.vaults import Vaults

Act = Callable[[Vaults, str], object]


@dataclass(frozen=True)
class Change:
    """Something that happens to a tenant's vault, and how it is undone."""

    begin: Act
    end: Act


def _clear(vaults: Vaults, tenant: str) -> None:
    vaults.call(tenant, "faults.clear")


REVOKED = {
    "disabled": Change(
        lambda vaults, tenant: vaults.call(tenant, "disable_key", name=KEK),
        lambda vaults, tenant: vaults.call(tenant, "enable_key", name=KEK),
    ),
    "deleted": Change(
        lambda vaults, tenant: vaults.call(tenant, "delete_key", name=KEK),
        lambda vaults, tenant: vaults.call(tenant, "recover_key", name=KEK),
    ),
    "permission removed": Change(
        lambda vaults, tenant: vaults.call(tenant, "revoke", principal="app"),
        lambda vaults, tenant: vaults.call(tenant, "grant", principal="app"),
    ),
    "blocked": Change(
        lambda vaults, tenant: vaults.call(tenant, "block"),
        lambda vaults, tenant: vaults.call(tenant, "unblock"),
    ),
}
CUT = {
    "refused connections": Change(lambda vaults, tenant: vaults.call(tenant, "faults.down"), _clear),
    "dropped connections": Change(lambda vaults, tenant: vaults.call(tenant, "faults.drop"), _clear),
    "server errors": Change(lambda vaults, tenant: vaults.call(tenant, "faults.fail"), _clear),
    "half answers": Change(lambda vaults, tenant: vaults.call(tenant, "faults.half_answer"), _clear),
    "silence": Change(lambda vaults, tenant: vaults.call(tenant, "faults.delay", seconds=600), _clear),
}
THROTTLED = {
    "throttled": Change(lambda vaults, tenant: vaults.call(tenant, "faults.throttle", retry_after=1), _clear)
}


ROTATED = {
    "rotated": Change(
        lambda vaults, tenant: vaults.call(tenant, "rotate_key", name=KEK),
        lambda vaults, tenant: vaults.call(tenant, "disable_key", name=KEK, version=vaults.first[tenant]),
    )
}


@dataclass
class Affected:
    """A tenant to whose KEK something happens.

    Attributes:
        beginning, began: the moments around its begin, on the monotonic clock.
        ending, ended: those around its end.
    """

    tenant: str
    what: str
    change: Change
    beginning: float = float("inf")
    began: float = float("inf")
    ending: float = float("inf")
    ended: float = float("inf")

    @property
    def proof_tells(self) -> float:
        """The moment from which a proof that succeeds shows that all is well again."""
        return self.ended if self.what in ROTATED else self.began

    def begin(self, vaults: Vaults) -> None:
        self.beginning = monotonic()
        self.change.begin(vaults, self.tenant)
        self.began = monotonic()

    def end(self, vaults: Vaults) -> None:
        self.ending = monotonic()
        self.change.end(vaults, self.tenant)
        self.ended = monotonic()


def affected(tenants: list[str], changes: dict[str, Change]) -> list[Affected]:
    """Deal the changes out to the tenants, in turn."""
    kinds = list(changes.items())
    return [Affected(tenant, *kinds[number % len(kinds)]) for number, tenant in enumerate(tenants)]
