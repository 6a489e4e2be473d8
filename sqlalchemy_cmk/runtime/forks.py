"""Fork hooks for objects whose locks, threads and connections a child must not share with its parent."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """An object that replaces what it inherited from its parent process."""

    def after_fork(self) -> None:
        """Replace locks, threads and connections; called in the child, right after the fork."""


_watched: WeakSet[ForkAware] = WeakSet()


def watch_forks(one: ForkAware) -> None:
    """Call the object's ``after_fork`` in every forked child, for as long as the object lives."""
    _watched.add(one)


def _reset_in_child() -> None:
    for one in list(_watched):
        one.after_fork()


os.register_at_fork(after_in_child=_reset_in_child)
