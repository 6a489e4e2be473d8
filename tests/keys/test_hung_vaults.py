"""Vaults that hang hold up their own tenants, and nobody else: not in threads, and not under asyncio."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from sqlalchemy_cmk import EncryptedType, Keyring, KeyUnavailable
from sqlalchemy_cmk.keys.opening.calls import AT_ONCE, ProviderCalls
from sqlalchemy_cmk.providers import AzureKeyVaultProvider, LocalKeyProvider
from sqlalchemy_cmk.providers.owners import TENANT_TAG, tag_word
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.support.databases import Database
from tests.support.providers import CountingProvider

HUNG = 12
AT_A_TIME = 3  # requests for each hung tenant
LONG = 20  # seconds for which a hung vault says nothing
SOON = 30
TRIES = 5


class Clinics:
    """Tenants with a vault each, of which all but "healthy" are about to hang."""

    def __init__(self, url: str, folder: Path, emulator: KeyVaultEmulator) -> None:
        self.emulator = emulator
        self.hung = [f"hung {number}" for number in range(HUNG)]
        self.vaults: dict[str, Vault] = {}
        self.others: set[threading.Thread] = set()
        self.metadata = MetaData()
        columns = (Column("id", Integer, primary_key=True), Column("owner", String(40)))
        self.notes = Table(
            "notes",
            self.metadata,
            *columns,
            Column("text", EncryptedType(String(40))),
            info={"cmk_tenant": "owner"},
        )
        self.platform = LocalKeyProvider(folder / "platform.json")
        engine = create_engine(url)
        for tenant in (*self.hung, "healthy"):
            vault = self.vaults[tenant] = emulator.vault(uuid4().hex)
            vault.create_key("kek", tags={TENANT_TAG: tag_word(tenant)})
        keyring = self.keyring(engine)
        self.metadata.create_all(engine)
        for tenant, vault in self.vaults.items():
            keyring.assign(tenant, vault.key_uri("kek"))
            with engine.begin() as connection:
                connection.execute(insert(self.notes), [{"owner": tenant, "text": f"of {tenant}"}])
        keyring.close()
        engine.dispose()

    def keyring(self, engine: Any, *, asynchronous: bool = False) -> Keyring:
        """A keyring with nothing open, as of a new process."""
        credential = self.emulator.async_credential if asynchronous else self.emulator.credential
        azure = AzureKeyVaultProvider(
            credential,
            trusted_hosts=self.emulator.trusted_hosts,
            read_timeout=LONG,
            **self.emulator.client_options,
        )
        keyring = Keyring(engine, platform_key="local:pmk", providers=[azure, self.platform])
        keyring.protect(self.metadata)
        return keyring

    def hang(self) -> None:
        self.others = set(threading.enumerate())
        for tenant in self.hung:
            self.vaults[tenant].faults.delay(LONG)

    def all_asked(self) -> bool:
        """Whether each hung vault has been asked: each has a thread of the keyring's that waits for it."""
        threads = set(threading.enumerate()) - self.others
        return sum(one.name == "cmk-kek" for one in threads) >= HUNG

    def end(self) -> None:
        """Let everybody go who waits for a vault."""
        for tenant in self.hung:
            self.vaults[tenant].faults.down()

    def query(self, tenant: str) -> Any:
        return select(self.notes.c.owner, self.notes.c.text).where(self.notes.c.owner == tenant)


@pytest.fixture
def clinics(
    sqlite_database: Database, tmp_path: Path, key_vault_emulator: KeyVaultEmulator
) -> Iterator[Clinics]:
    clinics = Clinics(sqlite_database.url, tmp_path, key_vault_emulator)
    yield clinics
    clinics.end()


def until(happens: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SOON
    while not happens():
        assert time.monotonic() < give_up, "it has not happened"
        time.sleep(0.01)


def test_twelve_hung_vaults_hold_up_no_thread_of_a_healthy_tenant(
    clinics: Clinics, sqlite_database: Database
) -> None:
    engine = create_engine(sqlite_database.url, pool_size=HUNG * AT_A_TIME + 1)
    keyring = clinics.keyring(engine)

    def read(tenant: str) -> list[str]:
        with engine.connect() as connection:
            return [row.text for row in connection.execute(clinics.query(tenant))]

    clinics.hang()
    with ThreadPoolExecutor(HUNG * AT_A_TIME + 1) as pool, ExitStack() as stack:
        waiting = [pool.submit(read, tenant) for tenant in clinics.hung * AT_A_TIME]
        stack.callback(clinics.end)
        until(clinics.all_asked)
        took: list[float] = []
        while not took or (min(took) >= 1 and len(took) < TRIES):  # the machine may have other work
            keyring.forget("healthy")
            began = time.monotonic()
            assert pool.submit(read, "healthy").result(SOON) == ["of healthy"]
            took.append(time.monotonic() - began)
        assert min(took) < 1
        assert not any(one.done() for one in waiting)
        clinics.end()
    for one in waiting:
        assert isinstance(one.exception(), KeyUnavailable)
    keyring.close()
    engine.dispose()


async def test_twelve_hung_vaults_leave_the_loop_and_its_executor_to_the_application(
    clinics: Clinics, sqlite_database: Database
) -> None:
    assert sqlite_database.async_url is not None
    engine = create_async_engine(sqlite_database.async_url, pool_size=HUNG * AT_A_TIME + 1)
    keyring = clinics.keyring(engine, asynchronous=True)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2))

    async def read(tenant: str) -> list[str]:
        async with engine.connect() as connection:
            return [row.text for row in await connection.execute(clinics.query(tenant))]

    clinics.hang()
    waiting = [asyncio.create_task(read(tenant)) for tenant in clinics.hung * AT_A_TIME]
    try:
        while not clinics.all_asked():
            await asyncio.sleep(0.01)
        took: list[float] = []
        while not took or (min(took) >= 1 and len(took) < TRIES):
            keyring.forget("healthy")
            began = time.monotonic()
            assert await read("healthy") == ["of healthy"]
            assert await loop.run_in_executor(None, lambda: "free") == "free"
            took.append(time.monotonic() - began)
        assert min(took) < 1
        assert not any(one.done() for one in waiting)
    finally:
        clinics.end()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        await engine.dispose()
        await asyncio.to_thread(keyring.close)
    assert all(isinstance(one, KeyUnavailable) for one in ended)


class Hanging(CountingProvider):
    """Hangs for the KEKs of tenants that begin with "hung", until it may go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.on = threading.Event()
        self.hanging: list[str] = []
        self.fault = self.hang

    def place_of(self, kek_uri: str) -> str:
        return "hung" if "hung" in kek_uri else "healthy"

    def hang(self, kek_uri: str) -> None:
        if "hung" in kek_uri and not self.on.is_set():
            self.hanging.append(kek_uri)
            assert self.on.wait(SOON)
            raise KeyUnavailable("it hung")


def test_a_vault_that_hangs_is_asked_so_often_at_once_and_callers_that_wait_learn_why() -> None:
    calls, end = ProviderCalls(patience=0.2), threading.Event()
    with ThreadPoolExecutor(AT_ONCE + 1) as pool, ExitStack() as stack:
        stack.callback(end.set)
        hung = [pool.submit(calls.run, "vault", lambda: end.wait(SOON)) for _ in range(AT_ONCE)]
        until(lambda: calls.under_way("vault") == AT_ONCE)
        with pytest.raises(KeyUnavailable, match="vault has not answered"):
            calls.run("vault", lambda: True)
        assert calls.run("another", lambda: True)
        end.set()
        assert all(one.result(SOON) for one in hung)
    assert calls.run("vault", lambda: True)


def test_a_vault_that_is_busy_and_answers_is_waited_for() -> None:
    calls = ProviderCalls(patience=0.3)
    with ThreadPoolExecutor(AT_ONCE * 6) as pool:
        asked = [pool.submit(calls.run, "vault", lambda: time.sleep(0.1) or 1) for _ in range(AT_ONCE * 6)]
        assert sum(one.result(SOON) for one in asked) == AT_ONCE * 6


async def test_a_hung_vault_is_asked_once_by_one_reader(sqlite_database: Database, tmp_path: Path) -> None:
    """However the rows are read; and the error says what is the matter."""
    notes, provider, engine, keyring = await hanging_world(sqlite_database, tmp_path)
    query = select(notes.c.owner, notes.c.text).where(notes.c.owner == "hung")

    async def execute() -> Any:
        async with engine.connect() as connection:
            return (await connection.execute(query)).all()

    async def stream() -> Any:
        async with engine.connect() as connection:
            return [row async for row in await connection.stream(query)]

    async def scalars() -> Any:
        async with AsyncSession(engine) as session:
            return (await session.scalars(query)).all()

    async def partitions() -> Any:
        async with AsyncSession(engine) as session:
            result = await session.stream(query.execution_options(yield_per=1))
            return [rows async for rows in result.partitions(1)]

    async def later() -> Any:
        async with engine.connect() as connection:
            result = await connection.execute(query)
        return result.all()

    try:
        for read in (execute, stream, scalars, partitions, later):
            keyring.forget()
            provider.on.clear()
            provider.hanging.clear()
            reading = asyncio.create_task(read())
            while not provider.hanging:
                await asyncio.sleep(0.01)
            provider.on.set()
            with pytest.raises(KeyUnavailable, match="it hung"):
                await reading
            assert len(provider.hanging) == 1, read.__name__
    finally:
        provider.on.set()
        await engine.dispose()
        await asyncio.to_thread(keyring.close)


async def hanging_world(database: Database, folder: Path) -> tuple[Table, Hanging, AsyncEngine, Keyring]:
    metadata = MetaData()
    columns = (Column("id", Integer, primary_key=True), Column("owner", String(40)))
    sealed = Column("text", EncryptedType(String(40)))
    notes = Table("notes", metadata, *columns, sealed, info={"cmk_tenant": "owner"})
    assert database.async_url is not None
    engine = create_async_engine(database.async_url)
    provider = Hanging(folder / "keys.json")
    provider.on.set()
    keyring = Keyring(engine, platform_key="local:pmk", providers=[provider])
    keyring.protect(metadata)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await asyncio.to_thread(keyring.assign, "hung", "local:hung")
    async with engine.begin() as connection:
        await connection.execute(insert(notes), [{"owner": "hung", "text": str(n)} for n in range(3)])
    return notes, provider, engine, keyring
