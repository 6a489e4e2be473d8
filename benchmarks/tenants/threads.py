"""Many threads read tenants at random through a cache that is smaller than they are."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.tenants.figure import Figure, Setting
from benchmarks.tenants.place import Place

THREADS = 64
PAGE = 20


def threads(setting: Setting) -> Iterator[Figure]:
    """Read pages of random tenants, drop keys now and then, and compare every value with its row's owner."""
    place = Place(
        f"sqlite:///{setting.folder}/threads.db",
        setting.folder,
        max_open_keys=max(1, setting.tenants // 10),
        pool_size=THREADS,  # who waits for a connection of the pool may be overtaken by all others
    )
    try:
        place.fill(setting.tenants, setting.tenants)
        place.provider.most_at_once = 0
        ends = time.monotonic() + setting.seconds

        def use(number: int) -> int:
            random, wrong = Random(number), 0
            while time.monotonic() < ends:
                wrong += _wrong_of_a_page(place, random.sample(range(1, setting.tenants + 1), PAGE))
                if not random.randrange(50):
                    place.keyring.forget(f"tenant {random.randrange(setting.tenants)}")
            return wrong

        with ThreadPoolExecutor(THREADS) as pool:
            wrong = sum(pool.map(use, range(THREADS)))
        yield Figure(f"{THREADS} threads, a small cache: wrong answers", 0, wrong)
        at_once = place.provider.most_at_once
        yield Figure(f"{THREADS} threads, a small cache: unwraps of one key at once", 1, at_once)
    finally:
        place.close()


def _wrong_of_a_page(place: Place, ids: list[int]) -> int:
    with Session(place.engine) as session:
        found = session.scalars(select(place.model).where(place.model.id.in_(ids))).all()
        wrong = sum(one.name != f"name {one.id} of {one.clinic_id}" for one in found)
        return wrong + abs(len(found) - len(ids))


BENCHMARKS = [threads]
