"""Waits for locks a short while at a time: a statement that waits for one holds up all behind it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.databases.base import Database
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.blocking import pause

T = TypeVar("T")

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 5.0


def patiently(where: str, database: Database, work: Callable[[], T]) -> T:
    """Run work again until it gets the locks that it needs, each time after a longer pause.

    Args:
        where: the column, for messages.
        database: says which errors mean that others hold a lock.
        work: waits for each lock a second or two, and leaves nothing when it fails.

    Raises:
        ConfigurationError: others have held the table for ten minutes.
    """
    began, seconds = time.monotonic(), 0.1
    while True:
        try:
            return work()
        except DBAPIError as error:
            if not database.is_conflict(error):
                raise
        waited = time.monotonic() - began
        if waited > PATIENCE_SECONDS:
            raise ConfigurationError(
                f"{where}: transactions of others have held the table for {waited:.0f} s: end those that "
                "stay open, and run the migration again; it goes on where it stopped"
            )
        log.info("%s: others hold the table; trying again, after %.0f s so far", where, waited)
        pause(seconds)
        seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)
