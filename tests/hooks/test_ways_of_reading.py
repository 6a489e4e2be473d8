"""Every way in which SQLAlchemy hands out a sealed value opens it with all checks, or refuses."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, String, create_engine, insert, text
from sqlalchemy.orm import DeclarativeBase, Session

from sqlalchemy_cmk import CmkError, EncryptedType, KeyRevoked, Keyring, tenant_scope
from sqlalchemy_cmk.providers import LocalKeyProvider
from tests.hooks.ways import POSTGRESQL, RETURNING, Way, declare, ways
from tests.support.databases import Database

MONTH = 30 * 86_400.0

# Never a value, not even in the tenant's own scope: the reason is in the name.
REFUSED = {
    "min",
    "an unknown function",
    "a window function",
    "a window function of a sealed type",
    "a JSON array",
    "json_agg",
}


class World:
    """Two tenants with a KEK of their own, a patient each, and a clock."""

    def __init__(self, url: str, folder: Path) -> None:
        self.now = 0.0
        self.engine: Engine = create_engine(url)
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.base: Any = type("Base", (DeclarativeBase,), {})
        self.models = declare(self.base, lambda: EncryptedType(String(50)))
        self.keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[self.provider],
            outage_grace=0,
            revalidation_jitter=0,
            clock=lambda: self.now,
        )
        self.keyring.protect(self.base)
        self.base.metadata.create_all(self.engine)
        for tenant in ("acme", "globex"):
            self.keyring.assign(tenant, f"local:{tenant}")
        with Session(self.engine) as session:
            session.execute(insert(self.models.Patient), [_patient(1, "acme"), _patient(2, "globex")])
            session.execute(insert(self.models.Visit), [{"id": n, "patient_id": n} for n in (1, 2)])
            session.commit()

    def run(self, sql: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(sql))

    def read(self, way: Way) -> list[Any]:
        """What a way gives, and undone; the keys are warm, as on any server."""
        self.keyring.warm(["acme", "globex"], new=True)
        return self.read_cold(way)

    def read_cold(self, way: Way) -> list[Any]:
        with Session(self.engine) as session:
            return list(way(session, self.models))

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


def _patient(key: int, tenant: str) -> dict[str, Any]:
    return {"id": key, "clinic_id": tenant, "ssn": f"{tenant.upper()}-{key}", "name": "n"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """The two databases whose drivers and RETURNING differ most."""
    from tests.conftest import empty_database

    yield from empty_database(request)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    made = World(database.url, tmp_path)
    yield made
    made.close()


def outcome(read: Callable[[], list[Any]]) -> list[Any] | CmkError:
    """What was read; or the refusal, which is one of ours."""
    try:
        return read()
    except CmkError as error:
        return error


@pytest.mark.parametrize("name", ways())
def test_a_way_gives_values_with_all_checks_or_refuses(world: World, name: str) -> None:
    way, needs = ways()[name]
    if needs == POSTGRESQL and world.engine.dialect.name != "postgresql":
        return  # another database cannot say this
    other = outcome(lambda: world.read(way))
    assert isinstance(other, CmkError) or {*other} <= {"ACME-1", "ACME-9", "GLOBEX-2", None}, other

    with tenant_scope("acme"):
        scoped = outcome(lambda: world.read(way))
    assert isinstance(scoped, CmkError) or "GLOBEX-2" not in scoped, scoped

    # acme's row is given a value of globex's, as anyone who writes to the database can.
    world.run("UPDATE patients SET ssn = (SELECT p.ssn FROM patients p WHERE p.id = 2) WHERE id = 1")
    world.run("DELETE FROM visits WHERE id = 2")
    world.run("DELETE FROM patients WHERE id = 2")
    for moved in (outcome(lambda: world.read(way)), _in_scope("acme", world, way)):
        assert isinstance(moved, CmkError) or "GLOBEX-2" not in moved, moved


@pytest.mark.parametrize("name", ways())
def test_a_way_serves_the_tenants_own_scope_until_the_key_is_revoked(world: World, name: str) -> None:
    way, needs = ways()[name]
    if needs == POSTGRESQL and world.engine.dialect.name != "postgresql":
        return
    world.run("DELETE FROM visits WHERE id = 2")
    world.run("DELETE FROM patients WHERE id = 2")
    own = _in_scope("acme", world, way)
    if name in REFUSED:
        assert isinstance(own, CmkError), own
        return
    assert not isinstance(own, CmkError), own
    if needs == RETURNING:
        assert set(own) <= {"ACME-1", "ACME-9"} and own
    elif name != "exec_driver_sql":
        assert set(own) == {"ACME-1"}

    world.provider.disable("local:acme")
    world.now += MONTH
    for scope in ("acme", None):
        with tenant_scope(scope):
            late = outcome(lambda: world.read_cold(way))
        assert isinstance(late, CmkError) or not set(late) & {"ACME-1", "ACME-9"}, late
    with tenant_scope("acme"):
        late = outcome(lambda: world.read_cold(way))
    assert isinstance(late, KeyRevoked) or late == []


def _in_scope(tenant: str, world: World, way: Way) -> list[Any] | CmkError:
    with tenant_scope(tenant):
        return outcome(lambda: world.read(way))
