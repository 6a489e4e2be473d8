"""Rows in one database and their keys in another are impossible: the connection's own database decides."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from sqlalchemy import Engine, QueuePool, StaticPool, create_engine, event, func, insert, select, text, update
from sqlalchemy.orm import Session

from sqlalchemy_cmk import ConfigurationError, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.alembic.configuration import keyring_of
from tests.keys.binding.shop import Shop, deks, named
from tests.support.databases import Database

MISMATCH = r"leads to sqlite:///.*other\.db, and the keyring keeps its keys in sqlite:///.*app\.db"


@pytest.fixture
def app(shop: Shop) -> Engine:
    """The engine of the keyring."""
    return shop.engine("app")


@pytest.fixture
def other(shop: Shop) -> Engine:
    """An engine to another database, with the same tables, which no keyring was given."""
    engine = shop.engine("other")
    shop.keyring().close()
    shop.base.metadata.create_all(engine)
    return engine


USES: dict[str, Callable[[Engine, Any], Any]] = {
    "flush": lambda engine, model: _flush(engine, model),
    "insert": lambda engine, model: _run(engine, insert(model), {"shop": "acme", "card": "4111"}),
    "update": lambda engine, model: _run(
        engine, update(model).where(model.shop == "acme").values(card="4111")
    ),
    "select": lambda engine, model: _run(engine, select(model.__table__)),
    "compare": lambda engine, model: _run(
        engine, select(func.count()).where(model.shop == "acme", model.card == "4111")
    ),
}


def _flush(engine: Engine, model: Any) -> None:
    with Session(engine) as session:
        session.add(model(shop="acme", card="4111"))
        session.flush()


def _run(engine: Engine, statement: Any, *parameters: Any) -> None:
    with engine.begin() as connection:
        connection.execute(statement, *parameters)


@pytest.mark.parametrize("use", USES)
def test_a_session_on_another_database_is_refused_and_both_are_named(
    shop: Shop, app: Engine, other: Engine, use: str
) -> None:
    with shop.keyring(app), pytest.raises(ConfigurationError, match=MISMATCH):
        USES[use](other, shop.order)
    assert deks(app) == deks(other) == named(other) == set()


def test_a_database_is_named_without_its_user_and_password(shop: Shop, app: Engine) -> None:
    url = "postgresql+psycopg://clerk:s3cret@127.0.0.1:1/app?sslpassword=s3cret"
    with shop.keyring(app) as keyring, pytest.raises(ConfigurationError) as caught:
        keyring.for_engine(create_engine(url))
    assert "postgresql+psycopg://127.0.0.1:1/app" in str(caught.value)
    assert "s3cret" not in str(caught.value) and "clerk" not in str(caught.value)


def test_a_keyring_that_has_one_connection_does_not_wait_for_another_to_know_it(shop: Shop) -> None:
    engine = create_engine(
        f"sqlite:///{shop.folder}/app.db", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0
    )
    rows = select(func.count()).select_from(shop.order)
    with shop.keyring(engine) as keyring:
        for run in (keyring.connections.run, keyring.connections.use):
            assert run(lambda connection: connection.scalar(rows)) == 0


def test_another_engine_to_the_same_file_has_the_same_keys(shop: Shop, app: Engine) -> None:
    (shop.folder / "link.db").symlink_to(shop.folder / "app.db")
    with shop.keyring(app):
        shop.write(app, "4111")
        for again in (shop.engine("app"), shop.engine("link")):
            shop.write(again, "4222")
            assert shop.read(again)[0] == "4111"
        assert named(app) == deks(app)


def test_an_engine_that_was_not_given_is_asked_where_it_leads_once(shop: Shop, app: Engine) -> None:
    asked: list[str] = []
    again = shop.engine("app")
    event.listen(again, "before_cursor_execute", lambda *given: asked.append(given[2]))
    with shop.keyring(app):
        for _ in range(3):
            shop.write(again, "4111")
    assert sum("database_list" in one for one in asked) == 1


def test_a_copy_of_the_file_is_another_database(shop: Shop, app: Engine) -> None:
    with shop.keyring(app):
        shop.write(app, "4111")
        app.dispose()
        (shop.folder / "other.db").write_bytes((shop.folder / "app.db").read_bytes())
        with pytest.raises(ConfigurationError, match=MISMATCH):
            shop.read(shop.engine("other"))


@pytest.mark.parametrize(
    "options",
    [{"isolation_level": "SERIALIZABLE"}, {"schema_translate_map": {None: "main"}}, {"yield_per": 1}],
    ids=str,
)
def test_an_engine_with_other_options_is_the_same_engine(
    shop: Shop, app: Engine, options: dict[str, Any]
) -> None:
    with shop.keyring(app):
        copy = app.execution_options(**options)
        asked: list[str] = []
        event.listen(copy, "before_cursor_execute", lambda *given: asked.append(given[2]))
        shop.write(copy, "4111")
        assert shop.read(copy) == ["4111"] == shop.read(app)
        assert not any("database_list" in one for one in asked)


def test_a_session_on_a_connection_is_rolled_back_after_each_test(shop: Shop, app: Engine) -> None:
    with shop.keyring(app) as keyring:
        keyring.warm(["acme"], ["deterministic"], new=True)
        for _ in range(2):
            with app.connect() as connection:
                outer = connection.begin()
                with Session(connection) as session:
                    session.add(shop.order(shop="acme", card="4111"))
                    session.flush()
                    assert session.scalars(select(shop.order)).one().card == "4111"
                outer.rollback()
        assert shop.read(app) == []


def memory() -> Engine:
    return create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})


def test_two_databases_in_memory_have_nothing_in_common(shop: Shop) -> None:
    first, second = memory(), memory()
    with shop.keyring(first) as keyring:
        shop.base.metadata.create_all(second)
        shop.write(first, "4111")
        with pytest.raises(ConfigurationError, match="leads to sqlite:///:memory:"):
            shop.write(second, "4222")
        keyring.init_engine(second)
        shop.write(second, "4222")
        assert (shop.read(first), shop.read(second)) == (["4111"], ["4222"])


def test_two_engines_whose_urls_say_the_same_are_told_apart(shop: Shop, app: Engine, other: Engine) -> None:
    """``creator`` decides where an engine leads, not its URL."""
    disguised = create_engine(app.url, creator=lambda: sqlite3.connect(shop.folder / "other.db"))
    with shop.keyring(app), pytest.raises(ConfigurationError, match="rows and the keys that open them"):
        shop.write(disguised, "4111")
    assert named(other) == set()


def test_a_replica_is_read_with_the_primarys_keys_and_not_written(shop: Shop, app: Engine) -> None:
    with shop.keyring(app) as keyring:
        shop.write(app, "4111")
        app.dispose()
        (shop.folder / "replica.db").write_bytes((shop.folder / "app.db").read_bytes())
        replica = shop.engine("replica")
        keyring.init_engine(replica, replica_of=app)
        assert shop.read(replica) == shop.read(replica.execution_options(yield_per=1)) == ["4111"]
        for engine in (replica, replica.execution_options(yield_per=1)):
            with pytest.raises(UnsupportedOperation, match=r"replica\.db was given as a replica"):
                shop.write(engine, "4222")
        keyring.assign("acme", "local:acme")


def test_a_replica_needs_a_primary_that_is_served(shop: Shop, app: Engine, other: Engine) -> None:
    with shop.keyring(app) as keyring, pytest.raises(ConfigurationError, match=r"does not serve .*other\.db"):
        keyring.init_engine(shop.engine("replica"), replica_of=other)


def test_a_session_that_routes_reads_to_a_replica(shop: Shop, app: Engine) -> None:
    replica = create_engine(f"sqlite:///{shop.folder / 'app.db'}")

    class Routing(Session):
        def get_bind(self, mapper: Any = None, clause: Any = None, **given: Any) -> Any:
            return app if self._flushing else replica

    with shop.keyring(app) as keyring:
        keyring.init_engine(replica, replica_of=app)
        with Routing() as session:
            session.add(shop.order(shop="acme", card="4111"))
            session.commit()
            assert session.scalars(select(shop.order)).one().card == "4111"


def test_an_attached_databases_rows_use_the_keys_of_the_main_one(
    shop: Shop, app: Engine, other: Engine
) -> None:
    @event.listens_for(app, "connect")
    def attach(connection: Any, _: Any) -> None:
        connection.execute(f"ATTACH '{shop.folder / 'other.db'}' AS attached")

    with shop.keyring(app):
        attached = app.execution_options(schema_translate_map={None: "attached"})
        shop.write(attached, "4111")
        assert shop.read(attached) == ["4111"] and shop.read(app) == []
        assert deks(app) == named(other) and deks(other) == set()


def test_a_migration_has_the_keyring_of_the_database_that_it_runs_on(
    shop: Shop, app: Engine, other: Engine
) -> None:
    def keys_of(engine: Engine, **options: Any) -> Any:
        with engine.connect() as connection:
            opts = {"target_metadata": shop.base.metadata, **options}
            return keyring_of(MigrationContext.configure(connection, opts=opts)).keys

    with shop.keyring(app) as keyring:
        assert keys_of(app) is keys_of(shop.engine("app"), keyring=keyring) is keyring.keys
        with pytest.raises(ConfigurationError, match=MISMATCH):
            keys_of(other)
        keyring.init_engine(other)
        assert keys_of(other) is keyring.for_engine(other).keys is not keys_of(app)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_arrays_of_sealed_values_open_with_the_keys_of_their_own_database(
    database: Database, shop: Shop, app: Engine
) -> None:
    engine = create_engine(database.url)
    with shop.keyring(engine, app):
        shop.write(engine, "4111")
        with engine.connect() as connection, tenant_scope("acme"):
            cards = func.array_agg(shop.order.card)
            assert connection.scalar(select(cards)) == ["4111"]
    engine.dispose()


def test_a_server_tells_its_databases_apart(database: Database, shop: Shop, tmp_path: Path) -> None:
    engine = create_engine(database.url)
    again = create_engine(engine.url.update_query_dict({}), pool_pre_ping=True)
    with shop.keyring(engine):
        shop.write(engine, "4111")
        shop.write(again, "4222")
        assert shop.read(again) == ["4111", "4222"]
        elsewhere = _elsewhere(engine, tmp_path)
        shop.base.metadata.create_all(elsewhere)
        with pytest.raises(
            ConfigurationError, match="rows and the keys that open them belong in one database"
        ):
            shop.write(elsewhere, "4333")
        shop.base.metadata.drop_all(elsewhere)
        elsewhere.dispose()
    for one in (engine, again):
        one.dispose()


def _elsewhere(engine: Engine, folder: Path) -> Engine:
    """An engine to another database of the same server."""
    if engine.dialect.name == "sqlite":
        return create_engine(f"sqlite:///{folder / 'elsewhere.db'}")
    name = f"{engine.url.database}_elsewhere"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return create_engine(engine.url.set(database=name))
