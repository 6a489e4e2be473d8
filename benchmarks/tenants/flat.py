"""What a load costs with many tenants: time for a row, calls of the KEK, and what an open key takes."""

import gc
import tracemalloc
from collections.abc import Iterator

from benchmarks.tenants.figure import Figure, Setting
from benchmarks.tenants.place import COLUMNS, Place, databases
from benchmarks.timing import Rounds


def load(setting: Setting) -> Iterator[Figure]:
    """Load two rows of each tenant, interleaved, against as many of one tenant, and count the KEK's calls."""
    rows = 2 * setting.tenants
    for database, where in databases(setting.folder):
        one, many = Place(where.url, setting.folder), Place(where.url, setting.folder)
        try:
            one.fill(rows, 1)
            many.fill(rows, setting.tenants)
            many.keyring.forget()
            many.orm_load()
            many.provider.unwraps = 0
            seconds = Rounds(
                {
                    "orm, one": one.orm_load,
                    "orm, many": many.orm_load,
                    "core, one": one.core_load,
                    "core, many": many.core_load,
                },
                setting.rounds,
            )
            calls = many.provider.unwraps
        finally:
            one.close()
            many.close()
        ratio = seconds.ratio("orm, many", "orm, one")
        yield Figure(f"a row of an ORM load against 1 tenant, {database}", 2.5, ratio)
        ratio = seconds.ratio("core, many", "core, one")
        yield Figure(f"a row of a Core load against 1 tenant, {database}", None, ratio)
        yield Figure(f"provider calls of further scans, {database}", 0, calls)


def memory(setting: Setting) -> Iterator[Figure]:
    """Return what stays in memory for each open DEK of which five columns are in use."""
    place = Place(f"sqlite:///{setting.folder}/memory.db", setting.folder, len(COLUMNS))
    try:
        place.fill(setting.tenants, setting.tenants)
        place.orm_load()
        place.keyring.forget()
        tracemalloc.start()
        before = _kept(place)
        place.orm_load()
        grown = _kept(place) - before
    finally:
        tracemalloc.stop()
        place.close()
    yield Figure("memory of an open DEK, five columns in use, KiB", 1, grown / setting.tenants / 1024)


def _kept(place: Place) -> int:
    # Reading the trail writes the events that wait in memory.
    place.keyring.audit.entries(last=1)
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


BENCHMARKS = [load, memory]
