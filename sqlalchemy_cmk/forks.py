"""What a forked child must not share with its parent: locks, threads, connections."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """Something that leaves its parent's belongings alone in a child."""

    def after_fork(self) -> None:
        """Called in the child, right after the fork."""


_watched: WeakSet[ForkAware] = WeakSet()


def watch_forks(one: ForkAware) -> None:
    """Have ``after_fork`` called in every forked child for as long as the object lives."""
    _watched.add(one)


def _reset_in_child() -> None:
    for one in list(_watched):
        one.after_fork()


os.register_at_fork(after_in_child=_reset_in_child)
