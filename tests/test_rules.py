"""The rules that protect data (docs/architecture.md): one test or more for each, on every database."""

import io
import logging
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Integer, String, create_engine, event, insert, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_cmk import (
    EncryptedType,
    KeyRevoked,
    Keyring,
    KeyUnavailable,
    TamperedError,
    TenantMismatch,
    TenantRequired,
    tenant_scope,
)
from sqlalchemy_cmk.providers import Secret
from sqlalchemy_cmk.rekey import drop_retired
from tests.support.databases import Database
from tests.support.keys import adopt
from tests.support.providers import CountingProvider


@dataclass
class World:
    """A model on a fresh database, with a clock that the test moves."""

    engine: Engine
    model: Any
    keyring: Keyring
    provider: CountingProvider
    now: list[float]

    def stored(self, column: str = "ssn") -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(f"SELECT {column} FROM patients ORDER BY id")).scalars())

    def owners(self, column: str = "ssn") -> list[str]:
        return [self.keyring.dek(bytes(one)[1:9]).tenant for one in self.stored(column)]

    def overwrite(self, row: int, stored: Any, column: str = "ssn") -> None:
        with self.engine.begin() as connection:
            connection.execute(
                text(f"UPDATE patients SET {column} = :v WHERE id = :i"), {"v": stored, "i": row}
            )


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    class Base(DeclarativeBase):
        pass

    class Patient(Base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(Integer, primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        name: Mapped[str | None] = mapped_column(EncryptedType(String(40)))

    engine = create_engine(database.url)
    now = [1000.0]
    provider = CountingProvider(tmp_path / "keys.json")
    keyring = Keyring(engine, platform_key="local:pmk", providers=[provider], clock=lambda: now[0])
    keyring.protect(Base)
    Base.metadata.create_all(engine)
    yield World(engine, Patient, keyring, provider, now)
    keyring.close()
    engine.dispose()


def add(world: World, *rows: tuple[str | None, str]) -> None:
    with Session(world.engine) as session:
        session.add_all([world.model(clinic=clinic, ssn=ssn) for clinic, ssn in rows])
        session.commit()


def read(world: World) -> list[tuple[str, str | None]]:
    with Session(world.engine) as session:
        return [(p.clinic, p.ssn) for p in session.scalars(select(world.model).order_by(world.model.id))]


def test_rule_1_without_a_tenant_nothing_is_written(world: World) -> None:
    with pytest.raises(TenantRequired):
        add(world, ("", "078-05-1120"))
    with Session(world.engine) as session, pytest.raises(TenantRequired):
        session.execute(insert(world.model), [{"ssn": "078-05-1120"}])
    assert world.stored() == []


def test_rule_1_without_a_key_nothing_is_written(world: World) -> None:
    def fail(kek_uri: str) -> None:
        raise KeyUnavailable("the vault is away")

    world.provider.fault = fail
    with pytest.raises(KeyUnavailable):
        add(world, ("acme", "078-05-1120"))
    assert world.stored() == []


def test_rule_2_each_row_of_one_flush_is_sealed_for_its_own_tenant(world: World) -> None:
    add(world, ("acme", "1"), ("globex", "2"), ("acme", "3"))
    with Session(world.engine) as session:
        rows = [{"clinic": "globex", "ssn": "4"}, {"clinic": "acme", "ssn": "5"}]
        session.execute(insert(world.model), rows)
        session.commit()
    assert rows == [{"clinic": "globex", "ssn": "4"}, {"clinic": "acme", "ssn": "5"}]
    assert world.owners() == ["acme", "globex", "acme", "globex", "acme"]
    assert [ssn for _, ssn in read(world)] == ["1", "2", "3", "4", "5"]


def test_rule_2_a_scope_that_contradicts_the_row_is_an_error(world: World) -> None:
    add(world, ("acme", "1"))
    with tenant_scope("globex"):
        with pytest.raises(TenantMismatch):
            add(world, ("acme", "2"))
        with pytest.raises(TenantMismatch):
            read(world)
        with Session(world.engine) as session, pytest.raises(TenantMismatch):
            session.execute(update(world.model).where(world.model.clinic == "acme").values(ssn="3"))
    assert world.owners() == ["acme"]


def test_rule_2_a_row_that_changes_tenants_is_sealed_anew_as_a_whole(world: World) -> None:
    with Session(world.engine) as session:
        session.add(world.model(clinic="acme", ssn="1", name="Ann"))
        session.commit()
        session.scalars(select(world.model)).one().clinic = "globex"
        session.commit()
    assert world.owners() == ["globex"] and world.owners("name") == ["globex"]
    assert read(world) == [("globex", "1")]


def test_rule_3_a_wrapping_that_does_not_unwrap_again_is_never_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.provider, "unwrap", lambda wrapped: Secret(bytes(32)))
    with pytest.raises(TamperedError):
        add(world, ("acme", "1"))
    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM cmk_deks")).scalar() == 0


def test_rule_3_a_rolled_back_transaction_leaves_its_dek_committed(world: World) -> None:
    with Session(world.engine) as session:
        session.add(world.model(clinic="acme", ssn="1"))
        session.flush()
        session.rollback()
    add(world, ("acme", "2"))
    world.keyring.forget()
    assert read(world) == [("acme", "2")]


def test_rule_4_keys_are_opened_before_the_first_statement_of_a_flush(world: World) -> None:
    world.keyring.warm(["acme", "globex"], new=True)
    world.keyring.forget()
    order: list[str] = []
    world.provider.fault = order.append
    event.listen(world.engine, "before_cursor_execute", lambda *args: order.append("statement"))
    add(world, ("acme", "1"), ("globex", "2"))
    assert order[:2] == ["local:pmk", "local:pmk"] and "local:pmk" not in order[2:]


def test_rule_4_a_cold_key_does_not_wait_for_the_callers_connection(database: Database, world: World) -> None:
    add(world, ("acme", "1"))
    world.keyring.forget()
    one = create_engine(database.url, pool_size=1, max_overflow=0, pool_timeout=30)
    with Session(one) as session:
        assert session.scalars(select(world.model)).one().ssn == "1"
        session.add(world.model(clinic="new", ssn="2"))
        world.keyring.warm(["new"], new=True)
        session.commit()
    one.dispose()


def test_rule_5_revocation_takes_effect_within_revalidate_after(world: World) -> None:
    world.keyring.assign("acme", "local:acme")
    add(world, ("acme", "1"), ("globex", "2"))
    world.provider.disable("local:acme")
    assert len(read(world)) == 2
    world.now[0] += 300
    with pytest.raises(KeyRevoked):
        read(world)
    with pytest.raises(KeyRevoked):
        add(world, ("acme", "3"))
    add(world, ("globex", "4"))
    assert [line.open for line in world.keyring.status() if line.tenant == "acme"] == [0]
    world.provider.enable("local:acme")
    world.now[0] += 15
    assert [ssn for _, ssn in read(world)] == ["1", "2", "4"]


def test_rule_5_an_outage_is_ridden_out_for_its_grace_then_fails(world: World) -> None:
    add(world, ("acme", "1"))

    def away(kek_uri: str) -> None:
        raise KeyUnavailable("the vault is away")

    world.provider.fault = away
    world.now[0] += 3599
    assert read(world) == [("acme", "1")]
    world.now[0] += 1
    with pytest.raises(KeyUnavailable):
        read(world)
    world.provider.fault = lambda kek_uri: None
    assert read(world) == [("acme", "1")]


def test_rule_6_no_secret_is_logged_or_raised(world: World) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    loud = create_engine(world.engine.url, echo="debug")
    try:
        with Session(loud) as session:
            session.add(world.model(clinic="acme", ssn="PLANTED-SECRET"))
            session.commit()
            assert session.scalars(select(world.model)).one().ssn == "PLANTED-SECRET"
            session.add(world.model(id="not a number", clinic="acme", ssn="PLANTED-SECRET"))
            try:
                session.flush()
            except Exception as error:
                stream.write(f"{error!r} {error} {vars(error)!r}")
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(level)
        loud.dispose()
    assert "INSERT INTO patients" in stream.getvalue()
    assert "PLANTED" not in stream.getvalue()


@pytest.mark.parametrize("damage", ["flip", "cut", "plain", "column", "tenant", "unknown"])
def test_rule_7_tampering_is_detected_and_named(world: World, damage: str) -> None:
    with Session(world.engine) as session:
        session.add(world.model(clinic="acme", ssn="one", name="Ann"))
        session.add(world.model(clinic="globex", ssn="two", name="Bob"))
        session.commit()
    stored = bytes(world.stored()[0])
    bad = {
        "flip": stored[:-1] + bytes([stored[-1] ^ 1]),
        "cut": stored[:30],
        "plain": b"078-05-1120",
        "column": bytes(world.stored("name")[0]),
        "tenant": bytes(world.stored()[1]),
        "unknown": stored[:1] + bytes(8) + stored[9:],
    }[damage]
    world.overwrite(1, bad)
    with pytest.raises(TamperedError, match=r"patients\.ssn") as caught:
        read(world)
    if damage in ("flip", "column", "tenant"):
        assert bad[1:9].hex() in str(caught.value)


def test_rule_8_a_hundred_threads_cause_one_provider_call(world: World) -> None:
    add(world, ("acme", "1"))
    world.keyring.forget()
    world.provider.calls.clear()
    world.provider.fault = lambda kek_uri: time.sleep(0.05)
    dek_id = bytes(world.stored()[0])[1:9]
    barrier = threading.Barrier(100)

    def ask(_: int) -> str:
        barrier.wait()
        return world.keyring.dek(dek_id).tenant

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(ask, range(100))) == {"acme"}
    assert world.provider.calls == ["unwrap"]


def test_rule_8_a_forked_child_reads_and_writes_beside_its_parent(world: World) -> None:
    add(world, ("acme", "1"))
    world.engine.dispose()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            world.engine.dispose(close=False)
            world.keyring.forget()
            add(world, ("acme", "2"), ("born in the child", "3"))
            status = 0 if len(read(world)) == 3 else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    world.keyring.forget()
    assert [ssn for _, ssn in read(world)] == ["1", "2", "3"]


def test_rule_10_a_dek_that_rows_need_is_kept_with_their_count(world: World) -> None:
    add(world, ("acme", "1"), ("acme", "2"), ("globex", "3"))
    old = bytes(world.stored()[0])[1:9]
    world.keyring.lifecycle.rotate_dek("acme")
    deks = world.keyring.database.tables.deks
    with world.engine.begin() as connection:
        long_ago = update(deks).where(deks.c.retired_at.is_not(None))
        connection.execute(long_ago.values(retired_at=datetime(2020, 1, 1, tzinfo=UTC)))
    adopt(world.keyring)
    report = drop_retired(world.keyring)
    assert (report.dropped, report.kept) == ((), {old: "patients.ssn: 2 rows"})
    world.keyring.forget()
    assert [ssn for _, ssn in read(world)] == ["1", "2", "3"]
