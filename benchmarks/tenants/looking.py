"""Looking at many tenants, on SQLite and PostgreSQL.

The key tables are filled by hand with authentic rows: making so many tenants one by one would take hours.
One tenant in a thousand is revoked, and one in a hundred has a KEK of its own.
"""

import time
from collections.abc import Callable, Iterator
from os import urandom
from pathlib import Path
from statistics import median

from sqlalchemy import MetaData, create_engine, text

from benchmarks.tenants.figure import Figure, Setting
from benchmarks.tenants.key_tables import write_keys
from benchmarks.tenants.place import databases
from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.keys.model import DekState, Purpose, TenantState
from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys, TenantRecord
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.clock import this_second
from tests.support.databases import Database

TENANTS = 100_000
ROUNDS = 7

PAGE_TARGET = 0.2


def looking(
    database: Database, folder: Path, tenants: int = TENANTS, rounds: int = ROUNDS
) -> dict[str, float]:
    """Return the median seconds of looks at a database with so many tenants.

    Args:
        database: an empty database.
        folder: where the key file is put.
        tenants: how many there are.
        rounds: how often each look is timed.
    """
    engine = create_engine(database.url)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(folder / "keys.json")])
    metadata = MetaData()
    keyring.protect(metadata)
    metadata.create_all(engine)
    keyring.warm(["tenant"], new=True)
    write_keys(keyring, map(_keys, range(tenants)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    middle, new = f"tenant {tenants // 2:06}", iter(range(1_000))
    looks: dict[str, Callable[[], object]] = {
        "first page of 100": lambda: keyring.status(limit=100),
        "a page in the middle": lambda: keyring.status(after=middle, limit=100),
        "the first 100 that are revoked": lambda: keyring.status(state="revoked", limit=100),
        "the tenant of one KEK": lambda: keyring.status(kek="local:own 000100", limit=100),
        "one tenant": lambda: keyring.status([middle]),
        "counts by state": keyring.count,
        "notice_rotations": keyring.notice_rotations,
        "a new tenant's first key": lambda: keyring.warm([f"new {next(new)}"], new=True),
    }
    try:
        return {name: median(_seconds(look) for _ in range(rounds)) for name, look in looks.items()}
    finally:
        keyring.close()
        engine.dispose()


def _seconds(look: Callable[[], object]) -> float:
    start = time.perf_counter()
    look()
    return time.perf_counter() - start


def _keys(number: int) -> TenantKeys:
    name, now = f"tenant {number:06}", this_second()
    kek_uri = "local:pmk" if number % 100 else f"local:own {number:06}"
    state = TenantState.OK if number % 1000 else TenantState.REVOKED
    deks = tuple(
        DekRecord(
            urandom(8),
            name,
            purpose,
            DekState.ACTIVE,
            (Wrapped(kek_uri, "5f0c12ab5f0c12ab", "A256KW", urandom(40)),),
            urandom(32),
            now,
        )
        for purpose in (Purpose.RANDOMIZED, Purpose.DETERMINISTIC)
    )
    return TenantKeys(
        TenantRecord(name, kek_uri, now, 2, state, None, now), tuple(sorted(deks, key=lambda one: one.id))
    )


def looks(setting: Setting) -> Iterator[Figure]:
    """Look at ten times as many tenants as others measure with."""
    for name, database in databases(setting.folder):
        for look, seconds in looking(database, setting.folder, 10 * setting.tenants).items():
            target = PAGE_TARGET * 1000 if "page" in look else None
            yield Figure(f"{look}, {name}, ms", target, seconds * 1000)


BENCHMARKS = [looks]
