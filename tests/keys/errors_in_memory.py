"""Catches errors of many ways to use a key, and looks for them in memory: ``python -m`` with a folder."""

import gc
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlalchemy_cmk import CmkError, KeyRevoked
from tests.keys.test_side_by_side import page
from tests.support.databases import sqlite_file
from tests.support.processes import await_true
from tests.support.vaults import TENANTS, town


def none_is_left(kek_uri: str) -> bool:
    """Whether no error of the library's about a KEK is in memory."""
    return not any(isinstance(one, CmkError) and kek_uri in str(one) for one in gc.get_objects())


def main(folder: Path) -> None:
    """Use a key that is refused in each way, with no collection of cycles."""
    with town(sqlite_file(folder).url, folder) as world:
        kek_uri = f"local:{TENANTS[3]}"
        world.provider.disable(kek_uri)
        uses: list[Callable[[], object]] = [
            lambda: page(world, *TENANTS),
            lambda: world.keyring.warm(TENANTS, new=True),
            lambda: world.write(TENANTS[3], "more"),
            lambda: world.keyring.assign(TENANTS[3], "local:pmk"),
            lambda: world.keyring.lifecycle.rewrap(TENANTS[3]),
        ]
        gc.collect()
        gc.disable()
        gone = 0
        for use in uses:
            world.keyring.forget()
            try:
                use()
            except KeyRevoked:
                gone += 1
            # A thread that has made the call may not have ended yet.
            await_true(partial(none_is_left, kek_uri))
        print(gone, "errors are gone")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
