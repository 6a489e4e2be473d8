"""SQLite has one writer: a DEK that a transaction needs which holds the lock is made in that transaction."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, insert, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sqlalchemy_cmk import KeyRevoked, Keyring, KeyUnavailable
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.keys.binding.shop import Shop, deks

# Longer than a test may take: one that waits for its own lock fails.
LONG, SHORT = 600, 0.1


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def engine(shop: Shop) -> Engine:
    return create_engine(f"sqlite:///{shop.folder}/app.db", connect_args={"timeout": LONG})


@pytest.fixture
def keyring(shop: Shop, engine: Engine) -> Iterator[Keyring]:
    with shop.keyring(engine) as made:
        yield made


def read_anew(shop: Shop, engine: Engine) -> list[str | None]:
    """What another process reads, and whether the trail and the keys hold together."""
    with shop.keyring(engine) as keyring:
        assert not keyring.audit.verify().problems
        return shop.read(engine)


def test_a_flush_for_one_tenant_and_then_for_another_waits_for_nothing(
    shop: Shop, engine: Engine, keyring: Keyring
) -> None:
    with Session(engine) as session:
        for number in range(4):
            session.add(shop.order(shop=f"shop {number}", card=str(number)))
            session.flush()
        session.commit()
    assert read_anew(shop, engine) == ["0", "1", "2", "3"]


def test_core_writes_for_new_tenants_in_an_open_transaction(
    shop: Shop, engine: Engine, keyring: Keyring
) -> None:
    orders = shop.order.__table__
    with engine.begin() as connection:
        connection.execute(insert(orders), {"shop": "acme", "card": "1"})
        rows = [{"shop": f"shop {number % 5}", "card": str(number)} for number in range(20)]
        connection.execute(insert(orders), rows)
    assert len(read_anew(shop, engine)) == 21


def test_the_transaction_reads_and_finds_what_it_has_written(
    shop: Shop, engine: Engine, keyring: Keyring
) -> None:
    with Session(engine) as session:
        session.add(shop.order(shop="acme", card="1"))
        session.flush()
        session.add(shop.order(shop="globex", card="2"))
        session.flush()
        session.expire_all()
        everything = select(shop.order).order_by(shop.order.id)
        assert [one.card for one in session.scalars(everything)] == ["1", "2"]
        found = select(shop.order).where(shop.order.shop == "globex", shop.order.card == "2")
        assert session.scalars(found).one().shop == "globex"
        keyring.keys.opened.drop()  # as if the transaction went on past a deadline
        session.expire_all()
        assert session.scalars(found).one().card == "2"


def test_a_rollback_takes_the_key_and_the_rows(shop: Shop, engine: Engine, keyring: Keyring) -> None:
    shop.write(engine, "1")
    before = deks(engine)
    with Session(engine) as session:
        session.add(shop.order(shop="acme", card="2"))
        session.flush()
        session.add(shop.order(shop="globex", card="3"))
        session.flush()
        session.rollback()
        assert deks(engine) == before
        session.add(shop.order(shop="globex", card="4"))
        session.commit()
    assert read_anew(shop, engine) == ["1", "4"]


@pytest.mark.parametrize("written", ["inside", "before"])
def test_a_savepoint_that_is_undone_takes_the_keys_that_were_made_in_it(
    shop: Shop, engine: Engine, keyring: Keyring, written: str
) -> None:
    with Session(engine) as session:
        session.add(shop.order(shop="acme", card="1"))
        session.flush()
        if written == "before":
            session.add(shop.order(shop="globex", card="2"))
            session.flush()
        inner = session.begin_nested()
        session.add(shop.order(shop="globex", card="3"))
        session.flush()
        inner.rollback()
        session.add(shop.order(shop="globex", card="4"))
        session.commit()
    assert read_anew(shop, engine) == ["1", "2", "4"] if written == "before" else ["1", "4"]


def test_a_transaction_that_is_undone_past_sqlalchemy_is_noticed(
    shop: Shop, engine: Engine, keyring: Keyring
) -> None:
    orders = shop.order.__table__
    with engine.connect() as connection:
        for end in ("ROLLBACK", "COMMIT"):
            connection.execute(insert(orders), {"shop": "acme", "card": end})
            connection.execute(insert(orders), {"shop": "globex", "card": end})
            connection.exec_driver_sql(end)
    assert read_anew(shop, engine) == ["COMMIT", "COMMIT"]


def test_nobody_else_seals_under_a_key_that_is_not_committed(shop: Shop) -> None:
    engine = create_engine(f"sqlite:///{shop.folder}/app.db", connect_args={"timeout": SHORT})
    with shop.keyring(engine) as keyring, Session(engine) as session, ThreadPoolExecutor(1) as other:
        session.add(shop.order(shop="acme", card="1"))
        session.flush()
        session.add(shop.order(shop="globex", card="2"))
        session.flush()
        with pytest.raises(KeyUnavailable, match=r"call keyring.warm\(\[tenant\], new=True\)"):
            other.submit(shop.write, engine, "3", shop="globex").result()
        assert keyring.keys.existing("globex", Purpose.DETERMINISTIC) is None
        session.rollback()
        other.submit(shop.write, engine, "4", shop="globex").result()
    assert read_anew(shop, engine) == ["4"]


def test_a_commit_that_fails_gives_the_key_to_nobody(shop: Shop) -> None:
    engine = create_engine(f"sqlite:///{shop.folder}/app.db", connect_args={"timeout": SHORT})
    with shop.keyring(engine) as keyring, engine.connect() as reader, engine.connect() as writer:
        shop.write(engine, "0")
        # An open read keeps a commit from the file, as long as there is no write-ahead log.
        reading = reader.exec_driver_sql("SELECT 1 UNION ALL SELECT id FROM orders")
        for owner in ("acme", "globex"):
            writer.execute(insert(shop.order), {"shop": owner, "card": owner})
        driver: Any = writer.connection.driver_connection
        with pytest.raises(OperationalError, match="locked"):
            writer.commit()
        reading.close()
        reader.rollback()
        driver.rollback()  # SQLAlchemy takes the transaction for ended
        assert keyring.keys.existing("globex", Purpose.DETERMINISTIC) is None
        shop.write(engine, "again", shop="globex")
    assert read_anew(shop, engine) == ["0", "again"]


def test_a_kek_that_refuses_leaves_the_transaction_as_it_was(shop: Shop, engine: Engine) -> None:
    provider = LocalKeyProvider(shop.folder / "keys.json")
    with shop.keyring(engine), Session(engine) as session:
        session.add(shop.order(shop="acme", card="1"))
        session.flush()
        provider.disable("local:pmk")
        session.add(shop.order(shop="globex", card="2"))
        with pytest.raises(KeyRevoked):
            session.flush()
    assert len(deks(engine)) == 1


class Writer:
    """Another process that writes to an SQLite file now and then."""

    def __init__(self, shop: Shop) -> None:
        self._connection = sqlite3.connect(
            f"{shop.folder}/app.db", timeout=0, isolation_level=None, check_same_thread=False
        )
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Take the lock, and give it back a moment later, or before."""
        self._connection.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, self.end).start()

    def end(self) -> None:
        with self._lock:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def begins_at_once(engine: Engine) -> None:
    """Begin each transaction when SQLAlchemy does, as its documentation shows."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")


def test_a_transaction_that_has_written_nothing_waits_for_the_lock(shop: Shop) -> None:
    engine = create_engine(f"sqlite:///{shop.folder}/app.db")
    begins_at_once(engine)
    with shop.keyring(engine) as keyring:
        shop.write(engine, "1")
        keyring.forget()
        Writer(shop).begin()
        shop.write(engine, "2", shop="globex")
        assert read_anew(shop, engine) == ["1", "2"]


def test_a_lock_that_others_take_while_a_kek_wraps_is_waited_for(shop: Shop) -> None:
    """Also where they give it back and take it again: nothing is left open that keeps others from writing."""
    engine = create_engine(f"sqlite:///{shop.folder}/app.db")

    class Slow(LocalKeyProvider):
        def wrap(self, kek_uri: str, key: Any) -> Any:
            if calls.pop():
                writer.begin()
            return super().wrap(kek_uri, key)

    @event.listens_for(engine, "before_cursor_execute")
    def savepoint(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SAVEPOINT") and any(calls):
            writer.end()

    calls = [False]
    shop.keyring(engine).close()
    with Keyring(engine, platform_key="local:pmk", providers=[Slow(shop.folder / "keys.json")]) as keyring:
        keyring.protect(shop.base)
        keyring.assign("acme", "local:pmk")
        writer, calls[:] = Writer(shop), [False] * 9 + [True] * 2
        shop.write(engine, "1")
        assert len(calls) < 11, "no KEK was asked"
        assert shop.read(engine) == ["1"]


def test_an_asynchronous_session_does_the_same(shop: Shop) -> None:
    url = f"sqlite+aiosqlite:///{shop.folder}/app.db"
    engine = create_async_engine(url, connect_args={"timeout": LONG})

    async def write() -> None:
        async with AsyncSession(engine) as session:
            for number in range(3):
                session.add(shop.order(shop=f"shop {number}", card=str(number)))
                await session.flush()
            await session.commit()
        await engine.dispose()

    plain = create_engine(f"sqlite:///{shop.folder}/app.db")
    shop.keyring(plain).close()
    keyring = Keyring(
        engine, platform_key="local:pmk", providers=[LocalKeyProvider(shop.folder / "keys.json")]
    )
    with keyring:
        keyring.protect(shop.base)
        asyncio.run(write())
    assert read_anew(shop, plain) == ["0", "1", "2"]


WRITER = """
import itertools, sys
from pathlib import Path
from sqlalchemy.orm import Session
from tests.keys.binding.shop import Shop
shop = Shop(Path(sys.argv[1]))
engine = shop.engine("app")
with shop.keyring(engine):
    for number in itertools.count():
        with Session(engine) as session:
            for owner in (sys.argv[2], f"{sys.argv[2]} {number}", f"{sys.argv[2]} {number} b"):
                session.add(shop.order(shop=owner, card=owner))
                session.flush()
            session.commit()
        print(number, flush=True)
"""


def test_a_killed_writer_leaves_no_row_without_its_key(shop: Shop) -> None:
    for run in range(3):
        command = [sys.executable, "-c", WRITER, str(shop.folder), f"run {run}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ}) as writer:
            assert writer.stdout is not None
            for _ in range(run + 2):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
    with shop.engine("app").connect() as connection:
        owners = connection.execute(text("SELECT shop FROM orders ORDER BY id")).scalars().all()
    assert len(owners) >= 9 and read_anew(shop, shop.engine("app")) == owners
