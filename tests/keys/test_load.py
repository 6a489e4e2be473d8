"""What reaches the KEKs does not grow with the load: one unwrap for a tenant and process in each period."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import urandom
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, event

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import KeyProvider, LocalKeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret
from tests.support.databases import Database

THREADS = 64
PERIOD = 300
A_MOMENT = 0.001


class CountingByKek(KeyProvider):
    """The local provider with a key file for each KEK, and the unwraps counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unwraps: list[str] = []

    def file(self, kek_uri: str) -> LocalKeyProvider:
        return LocalKeyProvider(self.folder / f"{kek_uri}.json")

    def handles(self, kek_uri: str) -> bool:
        return kek_uri.startswith("local:")

    def newest_version(self, kek_uri: str) -> str:
        return self.file(kek_uri).newest_version(kek_uri)

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        return self.file(kek_uri).wrap(kek_uri, dek)

    def unwrap(self, wrapped: Wrapped) -> Secret:
        self.unwraps.append(wrapped.kek_uri)
        return self.file(wrapped.kek_uri).unwrap(wrapped)

    def counted(self) -> Counter[str]:
        """The unwraps of each KEK since the last look."""
        counted, self.unwraps = Counter(self.unwraps), []
        return counted


class Service:
    """Tenants with a KEK and a DEK each in one database, for processes that share it and a clock."""

    def __init__(self, url: str, folder: Path, tenants: int) -> None:
        self.engine = engine_without_a_disk(url)
        self.folder = folder
        self.tenants = [f"tenant {number}" for number in range(tenants)]
        self.one_each = Counter({f"local:{tenant}": 1 for tenant in self.tenants})
        self.now = 1000.0
        self.keyrings: list[Keyring] = []
        keyring, _ = self.process()
        metadata = MetaData()
        keyring.protect(metadata)
        metadata.create_all(self.engine)
        for tenant in self.tenants:
            write_key_file(folder / f"local:{tenant}.json", tenant)
            keyring.assign(tenant, f"local:{tenant}")
        self.deks = {tenant: keyring.active(tenant, Purpose.RANDOMIZED).id for tenant in self.tenants}

    def process(self, jitter: float = 0) -> tuple[Keyring, CountingByKek]:
        """What a new process has: a keyring with nothing open, and a provider that has counted nothing."""
        provider = CountingByKek(self.folder)
        keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[provider],
            revalidate_after=PERIOD,
            revalidation_jitter=jitter,
            refresh_ahead=False,
            max_open_keys=2 * len(self.tenants),
            clock=lambda: self.now,
        )
        self.keyrings.append(keyring)
        return keyring, provider

    def use(self, *keyrings: Keyring) -> None:
        """Have 64 threads of each process seal and open for every tenant, in orders of their own, at once."""
        barrier = Barrier(THREADS * len(keyrings))

        def work(number: int) -> None:
            keyring = keyrings[number % len(keyrings)]
            barrier.wait(60)
            for tenant in Random(number).sample(self.tenants, len(self.tenants)):
                self.use_one(keyring, tenant)

        with ThreadPoolExecutor(barrier.parties) as pool:
            list(pool.map(work, range(barrier.parties)))

    def use_one(self, keyring: Keyring, tenant: str) -> None:
        assert keyring.active(tenant, Purpose.RANDOMIZED).id == self.deks[tenant]
        opened = keyring.dek(self.deks[tenant])
        assert opened is not None and opened.tenant == tenant

    def close(self) -> None:
        for keyring in self.keyrings:
            keyring.close()
        self.engine.dispose()


def engine_without_a_disk(url: str) -> Engine:
    """An engine on SQLite that does not wait for the disk: thousands of small transactions come."""
    engine = create_engine(url, pool_size=THREADS)

    def connect(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    event.listen(engine, "connect", connect)
    return engine


def write_key_file(path: Path, name: str) -> None:
    """A KEK in the file's documented form; the provider itself would wait for the disk."""
    version = {"id": "1", "key": b64encode(urandom(32)).decode()}
    path.write_text(json.dumps({"format": 1, "keks": {name: {"enabled": True, "versions": [version]}}}))
    path.chmod(0o600)


@pytest.fixture
def serve(sqlite_database: Database, tmp_path: Path) -> Iterator[Callable[[int], Service]]:
    """Makes a service with so many tenants."""
    made: list[Service] = []

    def make(tenants: int) -> Service:
        made.append(Service(sqlite_database.url, tmp_path, tenants))
        return made[-1]

    yield make
    for service in made:
        service.close()


def test_64_threads_over_1000_tenants_cause_one_unwrap_for_each_in_each_period(
    serve: Callable[[int], Service],
) -> None:
    service = serve(1000)
    keyring, provider = service.process()
    for _ in range(3):
        service.use(keyring)
        assert provider.counted() == service.one_each
        service.now += PERIOD - A_MOMENT
        service.use(keyring)
        assert provider.counted() == Counter()
        service.now += A_MOMENT


def test_each_process_asks_for_itself_however_many_there_are(serve: Callable[[int], Service]) -> None:
    service = serve(50)
    processes = [service.process() for _ in range(3)]
    for _ in range(3):
        service.use(*(keyring for keyring, _ in processes))
        assert [provider.counted() for _, provider in processes] == [service.one_each] * 3
        service.now += PERIOD


def test_with_jitter_a_tenant_in_use_every_second_is_asked_for_once_in_each_period(
    serve: Callable[[int], Service],
) -> None:
    service = serve(50)
    keyring, provider = service.process(jitter=0.1)
    service.use(keyring)
    assert provider.counted() == service.one_each
    for _ in range(3 * PERIOD):
        service.now += 1
        for tenant in service.tenants:
            service.use_one(keyring, tenant)
    # The fourth proof cannot be due before 4 x 270 seconds, the third has to be after 3 x 300.
    assert provider.counted() == Counter({kek: 3 for kek in service.one_each})


def test_a_tenant_that_nobody_uses_costs_nothing(serve: Callable[[int], Service]) -> None:
    service = serve(10)
    keyring, provider = service.process()
    service.use(keyring)
    provider.counted()
    service.now += 10 * PERIOD
    service.use_one(keyring, "tenant 3")
    assert provider.counted() == Counter({"local:tenant 3": 1})
