"""Where workers of other processes find their keyring: by the environment that they inherit."""

import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from sqlalchemy_cmk import Keyring
from tests.support.world import World
from tests.support.worlds import until

URL, FOLDER = "CMK_TEST_WORKER_URL", "CMK_TEST_WORKER_FOLDER"
PATH = "tests.rekey.worker_keyring:keyring"
LOCKED_PATH = "tests.rekey.worker_keyring:keyring_that_is_locked"

_worlds: list[World] = []


def keyring() -> Keyring:
    """The keyring over the database that a test has named."""
    _worlds.append(World(os.environ[URL], Path(os.environ[FOLDER]), revalidate_after=0))
    return _worlds[-1].keyring


def keyring_that_is_locked() -> Keyring:
    """A keyring that looks for locks; its third write waits until a lock of acme has been noticed.

    The file ``reached`` says that it waits.
    """
    folder = Path(os.environ[FOLDER])
    world = World(os.environ[URL], folder)
    world.restart(clock=time.monotonic, lock_check=0.05, revalidate_after=3600)
    _worlds.append(world)
    writes = 0

    def wait(*arguments: Any) -> None:
        nonlocal writes
        if arguments[2].startswith("UPDATE notes"):
            writes += 1
            if writes == 3:
                (folder / "reached").touch()
                until(lambda: "acme" not in world.keyring.opened.tenants())

    event.listen(Engine, "before_cursor_execute", wait)
    return world.keyring
