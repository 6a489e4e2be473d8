"""Keyrings that are made before their engines, serve several, come and go, and are forgotten."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from sqlalchemy_cmk import ConfigurationError
from tests.keys.binding.shop import Shop, deks, named
from tests.keys.processes import in_fork
from tests.support.processes import await_true


def test_a_keyring_is_made_first_and_given_its_engine_later(shop: Shop) -> None:
    keyring, engine = shop.keyring(), shop.engine("app")
    keyring.init_engine(engine)
    shop.base.metadata.create_all(engine)
    shop.write(engine, "4111")
    keyring.forget()
    assert shop.read(engine) == ["4111"]
    keyring.close()


def test_without_an_engine_every_use_says_how_to_give_one(shop: Shop) -> None:
    keyring, engine = shop.keyring(), shop.engine("app")
    uses: list[Callable[[], Any]] = [
        lambda: shop.write(engine, "4111"),
        lambda: keyring.warm(["acme"], new=True),
        keyring.status,
        lambda: keyring.lifecycle,
    ]
    for use in uses:
        with pytest.raises(
            ConfigurationError, match=r"serves no engine: call keyring\.init_engine\(engine\)"
        ):
            use()


def test_each_engine_has_keys_of_its_own(shop: Shop) -> None:
    first, second = shop.engine("first"), shop.engine("second")
    keyring = shop.keyring(first, second)
    shop.write(first, "4111")
    shop.write(second, "4222")
    assert named(first) == deks(first) and named(second) == deks(second)
    assert not deks(first) & deks(second)
    keyring.for_engine(first).forget()
    assert len(keyring.for_engine(first).opened) == 0 < len(keyring.for_engine(second).opened)
    assert (shop.read(first), shop.read(second)) == (["4111"], ["4222"])
    with Session(second) as session:
        found = select(shop.order.card).where(shop.order.shop == "acme", shop.order.card == "4222")
        assert session.scalars(found).all() == ["4222"]
    keyring.close()


def test_of_several_engines_one_has_to_be_named(shop: Shop) -> None:
    first, second = shop.engine("first"), shop.engine("second")
    with shop.keyring(first, second) as keyring:
        with pytest.raises(
            ConfigurationError, match=r"2 engines .*first\.db.*second\.db.*for_engine\(engine\)"
        ):
            keyring.assign("acme", "local:acme")
        keyring.for_engine(second).assign("acme", "local:acme")
        assert [line.kek_uri for line in keyring.for_engine(second).status()] == ["local:acme"]
        assert keyring.for_engine(first).status() == []


def test_an_engine_that_was_not_given_is_named(shop: Shop) -> None:
    named = pytest.raises(ConfigurationError, match=r"sqlite:///.*other\.db.*init_engine\(engine\) first")
    with shop.keyring(shop.engine("first")) as keyring, named:
        keyring.for_engine(shop.engine("other"))


def test_sessions_of_two_engines_are_served_at_the_same_time_by_threads(shop: Shop) -> None:
    engines = [shop.engine("first"), shop.engine("second")]
    keyring = shop.keyring(*engines)
    failed: list[BaseException] = []

    def work(at: int) -> None:
        try:
            for number in range(5):
                shop.write(engines[at], f"{at}-{number}")
                assert shop.read(engines[at])[-1] == f"{at}-{number}"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(at,)) for at in (0, 1)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    for engine in engines:
        assert named(engine) == deks(engine)
    keyring.close()


def test_a_session_with_binds_sends_each_class_to_its_database_with_its_keys(shop: Shop) -> None:
    first, second = shop.engine("first"), shop.engine("second")
    keyring = shop.keyring(first, second)
    with Session(first, binds={shop.order: second}) as session:
        session.add(shop.order(shop="acme", card="4111"))
        session.commit()
        assert session.scalars(select(shop.order)).one().card == "4111"
    assert named(second) == deks(second) != set() and deks(first) == set()
    keyring.close()


async def test_an_async_engine_is_given_later_and_the_keyring_closes_itself(shop: Shop) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{shop.folder / 'async.db'}")
    async with shop.keyring() as keyring:
        keyring.init_engine(engine)
        async with engine.begin() as connection:
            await connection.run_sync(shop.base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add(shop.order(shop="acme", card="4111"))
            await session.commit()
            assert (
                await session.scalars(select(shop.order.card).where(shop.order.shop == "acme"))
            ).all() == ["4111"]
        assert len(keyring.opened) == 1
    assert len(keyring.opened) == 0
    await engine.dispose()


def test_a_keyring_closes_itself_at_the_end_of_its_block(shop: Shop) -> None:
    engine = shop.engine("app")
    with pytest.raises(ZeroDivisionError), shop.keyring(engine) as keyring:
        shop.write(engine, "4111")
        raise ZeroDivisionError
    assert len(keyring.opened) == 0
    with pytest.raises(ConfigurationError, match=r"call keyring\.protect\(Base\) first"):
        shop.read(engine)


def test_where_a_second_keyring_serves_the_same_engine_the_newest_does(shop: Shop) -> None:
    engine = shop.engine("app")
    first = shop.keyring(engine)
    shop.write(engine, "4111")
    second = shop.keyring(engine)
    assert shop.read(engine) == ["4111"]
    assert (len(first.opened), len(second.opened)) == (0, 1)
    second.close()
    assert shop.read(engine) == ["4111"] and len(first.opened) == 1
    first.close()


def test_keyrings_that_nobody_closes_leave_nothing_in_the_next_ones_way(shop: Shop) -> None:
    """A test suite whose fixtures forget to close anything."""
    forgotten = []
    for number in range(3):
        engine = shop.engine(f"test-{number}")
        keyring = shop.keyring(engine)
        shop.write(engine, "4111")
        assert shop.read(engine) == ["4111"]
        forgotten.append(weakref.ref(keyring))
        forgotten.append(weakref.ref(engine))
        del keyring, engine
    await_true(lambda: gc.collect() >= 0 and not any(one() for one in forgotten))


def test_a_keyring_that_its_makers_forget_serves_its_engine_while_that_lives(shop: Shop) -> None:
    engine = shop.engine("app")

    def create_app() -> None:
        shop.keyring(engine)

    create_app()
    gc.collect()
    shop.write(engine, "4111")
    assert shop.read(engine) == ["4111"]


def test_an_engine_that_only_the_keyring_knows_stays(shop: Shop) -> None:
    keyring = shop.keyring(shop.engine("app"))
    gc.collect()
    keyring.warm(["acme"], new=True)
    assert [line.tenant for line in keyring.status()] == ["acme"]
    keyring.close()


def test_forgotten_keyrings_of_one_engine_hold_no_connections(shop: Shop) -> None:
    engine = shop.engine("app")
    connected: list[Any] = []
    event.listen(engine, "connect", lambda one, _: connected.append(one))
    keyrings = []
    for _ in range(3):
        keyrings.append(shop.keyring(engine))
        keyrings[-1].warm(["acme"], new=True)
        keyrings[-1].status()  # writes what its background thread would write later
    connected.clear()
    for keyring in keyrings:
        keyring.status()
    assert len(connected) == 2, "all but the newest have closed theirs, and open them when they are used"
    for keyring in keyrings:
        keyring.close()


def test_an_engine_that_is_disposed_of_takes_the_keyrings_connections_along(shop: Shop) -> None:
    engine = shop.engine("app")
    connected: list[Any] = []
    event.listen(engine, "connect", lambda one, _: connected.append(one))
    keyring = shop.keyring(engine)
    keyring.warm(["acme"], new=True)
    keyring.status()  # writes what its background thread would write later
    engine.dispose()
    connected.clear()
    keyring.status()
    assert len(connected) == 1, "the idle connection was kept"
    shop.write(engine, "4111")
    assert shop.read(engine) == ["4111"]
    keyring.close()


def test_tables_that_are_dropped_and_made_again_have_new_keys(shop: Shop) -> None:
    """A test suite with one keyring that calls ``create_all`` and ``drop_all`` around each test."""
    engine = shop.engine("app")
    with shop.keyring(engine) as keyring:
        for card in ("4111", "4222"):
            shop.base.metadata.create_all(engine)
            shop.write(engine, card)
            assert named(engine) == deks(engine)
            keyring.assign("acme", "local:acme")
            keyring.forget()
            assert shop.read(engine) == [card]
            shop.base.metadata.drop_all(engine)


def test_a_forked_child_uses_both_engines(shop: Shop) -> None:
    first, second = shop.engine("first"), shop.engine("second")
    keyring = shop.keyring(first, second)
    shop.write(first, "4111")
    shop.write(second, "4222")

    def child() -> bool:
        for engine in (first, second):
            engine.dispose(close=False)
        shop.write(second, "4333")
        return (shop.read(first), shop.read(second)) == (["4111"], ["4222", "4333"])

    assert in_fork(child)
    keyring.close()


def test_two_metadatas_are_served_by_keyrings_of_their_own_on_one_engine(shop: Shop) -> None:
    engine, other = shop.engine("app"), Shop(shop.folder)
    with shop.keyring(engine), other.keyring(engine, table_prefix="other_"):
        shop.write(engine, "4111")
        assert shop.read(engine) == ["4111"]
        with Session(engine) as session, pytest.raises(Exception, match="there is no DEK"):
            session.scalars(select(other.order)).all()
