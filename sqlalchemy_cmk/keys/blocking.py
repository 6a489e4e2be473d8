"""Blocking work where an event loop may be running: it is handed to a thread there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.util import concurrency

T = TypeVar("T")


def on_the_bridge() -> bool:
    """Tell whether this code runs inside SQLAlchemy's asyncio bridge, which needs greenlet."""
    return "sqlalchemy.ext.asyncio" in sys.modules and concurrency.in_greenlet()


def off_the_loop(work: Callable[[], T]) -> T:
    """Run blocking work; under SQLAlchemy's asyncio bridge in a thread, so that the loop goes on."""
    if on_the_bridge():
        return concurrency.await_only(asyncio.to_thread(work))
    return work()
