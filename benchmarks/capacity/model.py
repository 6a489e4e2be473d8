"""Closed formulas for the calls that a keyring makes to its KEKs.

They describe the most that can happen: every tenant in use all the time in every process. A tenant that
nobody uses costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, comb, factorial
from typing import Literal

from benchmarks.capacity.limits import KINDS, WINDOW, Limit, managed_hsm_limit, vault_limit
from sqlalchemy_cmk.keys.opening.opener import CachePolicy

Layout = Literal["shared", "own", "vaults"]
MONTH = 30 * 24 * 3600
BEST_JITTER = 0.5


def standard_times(
    jitter: float = 0.1, revalidate_after: float = 300, *, refresh_ahead: bool = False
) -> CachePolicy:
    """Return the keyring's default times, with what matters most for the load.

    The formulas are for proofs at the deadline; ahead of it they are simulated.
    """
    return CachePolicy(revalidate_after, 3600, 15, jitter, refresh_ahead)


DEFAULT_TIMES = standard_times()


@dataclass(frozen=True, slots=True)
class Prices:
    """What operations cost. No price here is from Microsoft: look yours up for your region.

    Attributes:
        per_10_000: USD for 10,000 operations of RSA keys of 2048 bits; third parties name the default.
        advanced: how many times as much those of larger RSA keys cost, as the same third parties name it.
        hsm_key_month: USD a month for one HSM-protected key, or ``None`` to leave that charge out.
    """

    per_10_000: float = 0.03
    advanced: float = 5.0
    hsm_key_month: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """An installation.

    Attributes:
        processes: how many have a keyring.
        tenants: how many are in use.
        layout: ``"shared"``: one KEK (the PMK) wraps all DEKs; ``"own"``: each tenant has a KEK, all in one
            vault; ``"vaults"``: each tenant has a KEK in a vault of its own.
        kind: the KEKs' kind, from :data:`KINDS`, or from :data:`MANAGED_HSM_UNWRAPS` in a Managed HSM.
        deks: DEKs in use for each tenant: 1 for ``randomized``, 2 with ``deterministic``, and any retired
            ones still read.
        times: the keyring's.
        partitions: 0 for vaults; 1 to 3 for a Managed HSM of so many.
    """

    processes: int = 8
    tenants: int = 1000
    layout: Layout = "own"
    kind: str = "RSA 2048"
    deks: int = 1
    times: CachePolicy = DEFAULT_TIMES
    partitions: int = 0

    @property
    def limit(self) -> Limit:
        """What one place takes."""
        return managed_hsm_limit(self.kind, self.partitions) if self.partitions else vault_limit(self.kind)

    @property
    def keks(self) -> int:
        """How many KEK versions there are."""
        return 1 if self.layout == "shared" else self.tenants

    @property
    def places(self) -> int:
        """How many vaults or HSMs hold them."""
        return self.tenants if self.layout == "vaults" else 1

    @property
    def all_deks(self) -> int:
        """How many DEKs one process holds open: what ``max_open_keys`` has to exceed."""
        return self.tenants * self.deks

    @property
    def deks_of_a_kek(self) -> int:
        """How many DEKs one unwrap renews."""
        return self.all_deks // self.keks

    def period(self) -> float:
        """Return the mean seconds between two proofs of one KEK version in one process.

        One unwrap renews every open DEK under the KEK version, so the earliest of its k deadlines counts:
        R (1 - j k / (k + 1)). Exact for one DEK, and for a jitter of at most a half. Ahead of the deadline it
        is the part of that in which DEKs are due; close, where there are several.
        """
        k = self.deks_of_a_kek
        deadline = self.times.revalidate_after * (1 - self.times.jitter * k / (k + 1))
        return self.times.due(0, deadline, 1 / (k + 1)) if self.times.refresh_ahead else deadline

    def steady(self) -> float:
        """Return unwraps in ten seconds, over a long time."""
        return WINDOW * self.processes * self.keks / self.period()

    def cold_start(self) -> int:
        """Return unwraps after all processes start at once: a DEK that is not open is unwrapped itself."""
        return self.processes * self.all_deks

    def making(self) -> int:
        """Return the calls that make every DEK once: a wrap, and an unwrap that proves it."""
        return 2 * self.all_deks

    def renewal_peak(self, number: int = 1) -> float:
        """Return the most unwraps in ten seconds when all DEKs, opened at one moment, are proven again.

        Each proof comes at a random moment of the last ``jitter * revalidate_after`` seconds; the times of
        the n-th are sums of n such, whose density is highest in their middle (Irwin and Hall). With a jitter
        of more than a half early DEKs are proven again before late ones are proven at all: the first peak
        grows.

        Where a KEK wraps several DEKs, the earliest of them counts: proofs crowd at the beginning.

        Args:
            number: the first proof after the start, the second, and so on. The formula holds for one DEK
                and, beyond the first, for a jitter of at most a half; several DEKs have the first's peak, and
                so have proofs ahead of the deadline.
        """
        at_once = self.processes * self.keks
        jitter, spread = self.times.jitter, self.times.jitter * self.times.revalidate_after
        if self.times.refresh_ahead:
            return max(self.steady(), at_once * self._most_ahead())
        if spread <= WINDOW:
            return at_once
        if self.deks_of_a_kek > 1:
            return max(self.steady(), at_once * (1 - (1 - WINDOW / spread) ** self.deks_of_a_kek))
        if number > 1:
            density = _density(number, number / 2)
        else:
            rounds = range(1, ceil(1 / (1 - jitter)) + 1)
            density = sum(_density(n, (1 - n * (1 - jitter)) / jitter) for n in rounds)
        return max(self.steady(), min(at_once, at_once * WINDOW / spread * density))

    def _most_ahead(self) -> float:
        """Return the most of all proofs ahead after a common start that come in one window."""
        times, chances = self.times, [(step + 0.5) / 100 for step in range(100)]

        def come(moment: float) -> float:
            """Return the share that has come by then: of a KEK's DEKs the earliest counts."""
            spans = ((times.due(0, end, 0), times.due(0, end, 1)) for end in ends)
            share = sum(min(1.0, max(0.0, (moment - first) / (last - first))) for first, last in spans)
            return float(1 - (1 - share / len(ends)) ** self.deks_of_a_kek)

        ends = [times.deadline(0, chance) for chance in chances]
        return max(come(at + WINDOW) - come(at) for at in range(int(times.revalidate_after)))

    def waiting(self, outage: float) -> float:
        """Return how many KEKs are due, in all processes, after an outage shorter than a period."""
        return self.processes * self.keks * min(1.0, outage / self.period())

    def recovery_peak(self, outage: float) -> float:
        """Return unwraps in the ten seconds after an outage: what waits comes back within ``retry_after``.

        With ``"shared"`` the first unwrap of a process renews all that waits. What did not wait is asked for
        as ever.
        """
        waiting = self.waiting(outage)
        within = 1.0 if self.layout == "shared" else min(1.0, WINDOW / self.times.retry_after)
        return waiting * within + (self.steady() if outage < self.period() else 0)

    def outage_calls(self) -> float:
        """Return calls in ten seconds while an outage lasts and every DEK is due: each asks for itself."""
        return WINDOW * self.processes * self.all_deks / self.times.retry_after

    def refused(self, questions: int = 2) -> float:
        """Return calls in ten seconds for one tenant in use whose KEK refuses: more than for a good one.

        Args:
            questions: what is asked for: each DEK that is read, and each purpose that is written.
        """
        return WINDOW * self.processes * questions / self.times.retry_after

    def share(self, unwraps: float) -> float:
        """Return the share of the tightest limit that so many unwraps in ten seconds use.

        Vaults count as those of one subscription; customers' own subscriptions have limits of their own.
        """
        one = unwraps / self.places / self.limit.in_ten_seconds
        return max(one, unwraps / self.limit.in_ten_seconds / self.limit.together)

    def opening_time(self) -> float:
        """Return seconds until all DEKs are open after all processes start at once.

        A vault opens what its limit allows at the beginning of each window. Exact where they are open before
        the first is proven again.
        """
        limit = self.limit
        room = limit.most * min(self.places, limit.together)
        return (ceil(self.cold_start() / room) - 1) * limit.window

    def smallest_jitter(self) -> float | None:
        """Return the jitter that keeps the proofs after a common start within the limit; ``None``: none does.

        It is the first proofs that crowd most, and least with a jitter of a half.
        """
        room = self.limit.in_ten_seconds * min(self.places, self.limit.together)
        at_once = self.processes * self.keks
        if at_once <= room:
            return 0.0
        if self.times.refresh_ahead:
            steps = (step / 100 for step in range(int(100 * BEST_JITTER) + 1))
            cases = (replace(self, times=replace(self.times, jitter=jitter)) for jitter in steps)
            return next((one.times.jitter for one in cases if one.renewal_peak() <= room), None)
        in_a_window = 1 - (1 - room / at_once) ** (1 / self.deks_of_a_kek)
        jitter = WINDOW / (self.times.revalidate_after * in_a_window)
        return jitter if jitter <= BEST_JITTER else None

    def most_tenants(self, share: float = 0.5) -> int:
        """Return how many tenants, each with a KEK, one vault or HSM serves with a share of its limit."""
        for_one = WINDOW * self.processes / self.period()
        return int(share * self.limit.in_ten_seconds / for_one)

    def operations(self, deploys: int = 0) -> float:
        """Return operations in 30 days, with so many restarts of all processes."""
        return self.steady() / WINDOW * MONTH + deploys * self.cold_start()

    def bill(self, prices: Prices = Prices(), deploys: int = 0) -> float:
        """Return USD for 30 days in vaults. A Managed HSM is not billed by transaction."""
        each = prices.per_10_000 / 10_000 * (1 if self.kind.endswith("2048") else prices.advanced)
        operations = 0.0 if self.partitions else self.operations(deploys) * each
        charged = not self.partitions and KINDS[self.kind].hsm
        return operations + (self.keks * (prices.hsm_key_month or 0) if charged else 0)


def evicting(uses_a_second: float, deks: int, max_open_keys: int) -> float:
    """Return unwraps in ten seconds of one process that uses more DEKs than it may keep open.

    Args:
        uses_a_second: uses of a DEK, each of any DEK alike.
        deks: in use.
        max_open_keys: kept open.
    """
    return WINDOW * uses_a_second * max(0.0, 1 - max_open_keys / deks)


def _density(number: int, total: float) -> float:
    """Return the density of the sum of so many numbers, each anywhere from 0 to 1, at this total."""
    if not 0 < total <= number:
        return 0.0
    terms = ((-1) ** k * comb(number, k) * (total - k) ** (number - 1) for k in range(int(total) + 1))
    return 1.0 if number == 1 else sum(terms) / factorial(number - 1)
