"""A folder in memory for what tests write.

On a disk SQLite waits at every commit, for a third of its tests' time. Crash tests mean the same in memory:
they kill processes, never the machine, and what a killed process has written stays in its files either way.
"""

import os
from pathlib import Path

FOLDER = Path("/dev/shm")
# Databases, the two servers' data included; containers have 64 MB here by default.
ENOUGH = 3 * 2**30


def folder_in_memory() -> Path | None:
    """Return a folder of a file system in memory with room for the tests, or None where there is none."""
    if not (FOLDER.is_dir() and os.access(FOLDER, os.W_OK | os.X_OK)):
        return None
    room = os.statvfs(FOLDER)
    return FOLDER if room.f_bavail * room.f_frsize >= ENOUGH else None
