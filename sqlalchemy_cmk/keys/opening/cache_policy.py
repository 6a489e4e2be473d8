"""How long opened DEKs stay usable, and when they are proven again: :class:`CachePolicy`."""

from __future__ import annotations

from dataclasses import dataclass

# The part of the time to its deadline in which a DEK in use is proven again ahead of it. What is left after
# that is for a vault that answers slowly, and for many DEKs that are due at once.
AHEAD_FROM, AHEAD_TO = 0.8, 0.95


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long opened DEKs stay usable, in seconds.

    Attributes:
        revalidate_after: how long an opened DEK is used before it has to be proven again. It leaves memory
            when nobody has used it for so long.
        outage_grace: how long opened DEKs stay usable while their KEK cannot be reached, from the last proof.
        retry_after: how long to wait before asking a KEK again that refused, or that could not be reached
            while its DEKs are open.
        jitter: the fraction of ``revalidate_after``, from 0 up to 1, by which a proof may come earlier.
        refresh_ahead: whether DEKs in use are proven again in the background, before their deadline.
        lock_check: how long until a process that holds DEKs looks again whether a tenant was locked.
        lock_grace: how long opened DEKs stay usable, from their last proof, while it cannot look.
        lock_notify: whether it also listens for locks, on a connection of its own.
    """

    revalidate_after: float
    outage_grace: float
    retry_after: float
    jitter: float
    refresh_ahead: bool = True
    lock_check: float = 2.0
    lock_grace: float = 300.0
    lock_notify: bool = False

    @property
    def longest_use(self) -> float:
        """How long after a proof a DEK may be used, whether its KEK can be reached or not."""
        return max(self.revalidate_after, self.outage_grace)

    def deadline(self, proven_at: float, chance: float) -> float:
        """Return when a DEK has to be proven again.

        Args:
            proven_at: when it was proven, in seconds of any clock.
            chance: a random number from 0 to 1.
        """
        return proven_at + self.revalidate_after * (1 - self.jitter * chance)

    def due(self, proven_at: float, deadline: float, chance: float) -> float:
        """Return when a DEK is proven again in the background, if it was used since its last proof.

        Args:
            proven_at: when it was proven.
            deadline: when it has to be proven again.
            chance: a random number from 0 to 1, which spreads the calls.
        """
        return proven_at + (deadline - proven_at) * (AHEAD_FROM + (AHEAD_TO - AHEAD_FROM) * chance)

    def second_look(self, due: float, deadline: float) -> float:
        """Return when to look once more at a DEK that nobody had used when it was due."""
        return (due + deadline) / 2
