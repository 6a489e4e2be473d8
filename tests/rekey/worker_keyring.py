"""Where workers of other processes find their keyring: by the environment that they inherit."""

import os
from pathlib import Path

from sqlalchemy_cmk import Keyring
from tests.support.world import World

URL, FOLDER = "CMK_TEST_WORKER_URL", "CMK_TEST_WORKER_FOLDER"
PATH = "tests.rekey.worker_keyring:keyring"

_worlds: list[World] = []


def keyring() -> Keyring:
    """The keyring over the database that a test has named."""
    _worlds.append(World(os.environ[URL], Path(os.environ[FOLDER]), revalidate_after=0))
    return _worlds[-1].keyring
