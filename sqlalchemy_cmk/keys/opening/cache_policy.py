"""How long opened DEKs stay usable: :class:`CachePolicy`."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    revalidate_after: float
    outage_grace: float
    retry_after: float
    jitter: float

    @property
    def longest_use(self) -> float:
        """How long after a proof a DEK may be used, whether its KEK can be reached or not."""
        return max(self.revalidate_after, self.outage_grace)
