"""What Microsoft publishes: transactions in ten seconds of a vault, unwraps in a second of a Managed HSM.

Key Vault weighs: a transaction uses up the share of its own kind's limit, and the shares of all kinds add up
to at most one. A request that is answered with 429 does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SERVICE_LIMITS = "https://learn.microsoft.com/azure/key-vault/general/service-limits"
THROTTLING = "https://learn.microsoft.com/azure/key-vault/general/overview-throttling"
MANAGED_HSM_SCALING = "https://learn.microsoft.com/azure/key-vault/managed-hsm/scaling-guidance"

WINDOW = 10
VAULTS_IN_A_SUBSCRIPTION = 5
MOST_PARTITIONS = 3


@dataclass(frozen=True, slots=True)
class KeyKind:
    """A kind of key in a vault, and how many transactions with such keys ten seconds allow."""

    name: str
    create: int
    other: int

    @property
    def hsm(self) -> bool:
        """Whether an HSM protects such keys, which takes a Premium vault."""
        return "HSM" in self.name

    @property
    def weight(self) -> float:
        """The share of a vault's limit that one transaction (get, wrap, unwrap) uses."""
        return 1 / self.other


KINDS = {
    kind.name: kind
    for kind in (
        KeyKind("RSA 2048", 20, 4000),
        KeyKind("RSA 3072", 20, 1000),
        KeyKind("RSA 4096", 20, 500),
        KeyKind("RSA-HSM 2048", 10, 2000),
        KeyKind("RSA-HSM 3072", 10, 500),
        KeyKind("RSA-HSM 4096", 10, 250),
    )
}

# Unwraps in a second on one partition.
MANAGED_HSM_UNWRAPS = {
    "RSA-HSM 2048": 1100,
    "RSA-HSM 3072": 360,
    "RSA-HSM 4096": 160,
    "oct-HSM 256": 2200,
}


def share_used(transactions: Mapping[str, int], created: Mapping[str, int] | None = None) -> float:
    """Return the share of a vault's limit that these use within ten seconds; more than 1 is throttled.

    Args:
        transactions: by kind of key, how many other than the creation of keys.
        created: by kind of key, how many keys are created.
    """
    other = sum(count / KINDS[kind].other for kind, count in transactions.items())
    return other + sum(count / KINDS[kind].create for kind, count in (created or {}).items())


@dataclass(frozen=True, slots=True)
class Limit:
    """How many unwraps one place takes in a window.

    Attributes:
        window: seconds.
        most: unwraps within them.
        together: how many times ``most`` all such places take together, in one subscription.
    """

    window: int
    most: int
    together: int = 1

    @property
    def in_ten_seconds(self) -> int:
        """The same, in the unit of everything that is printed."""
        return self.most * WINDOW // self.window


def vault_limit(kind: str) -> Limit:
    """Return a vault's limit for unwraps with keys of one kind."""
    return Limit(WINDOW, KINDS[kind].other, VAULTS_IN_A_SUBSCRIPTION)


def managed_hsm_limit(kind: str, partitions: int = 1) -> Limit:
    """Return what a Managed HSM is measured to unwrap; it is not throttled, it is busy."""
    if not 1 <= partitions <= MOST_PARTITIONS:
        raise ValueError(f"a Managed HSM has 1 to {MOST_PARTITIONS} partitions")
    return Limit(1, MANAGED_HSM_UNWRAPS[kind] * partitions)
