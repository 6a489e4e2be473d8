"""Many tenants with a vault each, which show how many calls are under way at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import insert

from sqlalchemy_cmk.providers import Wrapped
from sqlalchemy_cmk.runtime.secret import Secret
from tests.support.providers import CountingProvider
from tests.support.world import World

SOON = 30
TENANTS = [f"tenant {number:02}" for number in range(30)]


class Vaults(CountingProvider):
    """A vault for each KEK, which answers once as many calls are under way as are awaited."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.lock = threading.Condition()
        self.awaited = 0
        self.lookups: list[str] = []
        self.under_way: Counter[str] = Counter()
        self.most = self.most_of_one = 0
        self.fault = self.meet

    def place_of(self, kek_uri: str) -> str:
        return kek_uri

    def calls_at_once(self, kek_uri: str) -> int:
        return 100

    def meet(self, kek_uri: str) -> None:
        with self.lock:
            self.under_way[kek_uri] += 1
            self.most = max(self.most, self.under_way.total())
            self.most_of_one = max(self.most_of_one, self.under_way[kek_uri])
            self.lock.notify_all()
            assert self.lock.wait_for(lambda: self.most >= self.awaited, SOON)

    def unwrap(self, wrapped: Wrapped) -> Secret:
        try:
            return super().unwrap(wrapped)
        finally:
            with self.lock:
                self.under_way[wrapped.kek_uri] -= 1

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        try:
            return super().wrap(kek_uri, dek)
        finally:
            with self.lock:
                self.under_way[kek_uri] -= 1

    def newest_version(self, kek_uri: str) -> str:
        self.lookups.append(kek_uri)
        return super().newest_version(kek_uri)


@contextmanager
def town(url: str, folder: Path) -> Iterator[World]:
    """Tenants with a note and a vault each; nothing is open."""
    world = World(url, folder)
    world.create()
    for tenant in TENANTS:
        world.provider.ensure(f"local:{tenant}")
    for tenant in TENANTS:
        world.keyring.assign(tenant, f"local:{tenant}")
    with world.engine.begin() as connection:
        connection.execute(insert(world.notes), [{"owner": one, "text": f"of {one}"} for one in TENANTS])
    world.provider = Vaults(world.provider.path)
    world.restart()
    try:
        yield world
    finally:
        world.close()


def vaults(world: World) -> Vaults:
    """The vaults of a town."""
    assert isinstance(world.provider, Vaults)
    return world.provider
