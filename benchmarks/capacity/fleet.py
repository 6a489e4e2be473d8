"""Many processes, many tenants, and use that is skewed: what each vault is asked, and which requests wait.

The formulas are for requests that come independently of each other, with a mean time to the deadline.
:mod:`benchmarks.capacity.fleet_simulation` draws both; a test has the two agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import exp

from benchmarks.capacity.model import DEFAULT_TIMES
from sqlalchemy_cmk.keys.opening.cache_policy import CachePolicy

# An opened DEK with five columns in use, measured by `make bench-tenants`.
DEK_BYTES = 1024


@dataclass(frozen=True)
class Fleet:
    """An installation with a vault for each tenant.

    Attributes:
        processes: how many have a keyring.
        tenants: how many there are. The n-th is used as often as the first, divided by n to the ``skew``.
        requests: that a process answers in a second, each for one tenant.
        skew: the exponent of Zipf's law.
        serving: how many processes serve a tenant: all, or those to which its requests are routed.
        call: seconds until a KEK has answered.
        times: the keyring's.
    """

    processes: int = 200
    tenants: int = 100_000
    requests: float = 50.0
    skew: float = 1.0
    serving: int = 200
    call: float = 0.05
    times: CachePolicy = DEFAULT_TIMES

    @cached_property
    def uses(self) -> list[float]:
        """Requests a second for each tenant, in each process that serves it."""
        weights = [1 / rank**self.skew for rank in range(1, self.tenants + 1)]
        of_the_first = self.processes * self.requests / self.serving / sum(weights)
        return [weight * of_the_first for weight in weights]

    @cached_property
    def proofs(self) -> list[Proofs]:
        """What the KEK of each tenant is asked, by each process that serves it."""
        return [Proofs.of(rate, self.times) for rate in self.uses]

    def calls(self) -> list[float]:
        """Return calls a second to the vault of each tenant."""
        return [self.serving * one.calls for one in self.proofs]

    def waiting(self) -> float:
        """Return the share of requests that wait for a KEK: they ask it, or come while it is being asked."""
        pairs = zip(self.proofs, self.uses, strict=True)
        return sum(one.waited_for * (1 + rate * self.call) for one, rate in pairs) / sum(self.uses)

    def open_deks(self) -> float:
        """Return how many DEKs a process holds open."""
        return sum(one.open for one in self.proofs) * self.serving / self.processes


@dataclass(frozen=True, slots=True)
class Proofs:
    """How often one process asks the KEK of one tenant.

    Attributes:
        waited_for: calls a second that requests wait for.
        ahead: calls a second in the background.
        open: the share of the time for which the DEK is in memory.
    """

    waited_for: float
    ahead: float
    open: float

    @property
    def calls(self) -> float:
        """Both."""
        return self.waited_for + self.ahead

    @classmethod
    def of(cls, rate: float, times: CachePolicy) -> Proofs:
        """Return those of a tenant for whom so many requests come in a second.

        A proof is followed by one ahead if the DEK has been used when it is due, or at the second look. If
        not, the first request after the deadline asks.
        """
        deadline = times.deadline(0, 0.5)
        unused, length, looked = 1.0, 0.0, 0.0
        for looked in _looks(times, deadline):
            still = exp(-rate * looked)
            length += (unused - still) * looked
            unused = still
        length += unused * (deadline + 1 / rate)
        waited_for = unused / length
        # After its last proof ahead it stays until the deadline; otherwise it was used then.
        stays = deadline - looked if looked else times.revalidate_after
        closed = exp(-rate * stays) * (waited_for / rate if looked else 1)
        return cls(waited_for, (1 - unused) / length, 1 - closed)


def _looks(times: CachePolicy, deadline: float) -> Iterator[float]:
    if times.refresh_ahead:
        due = times.due(0, deadline, 0.5)
        yield due
        yield times.second_look(due, deadline)
