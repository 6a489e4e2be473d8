"""No error shows a value or a key: not in its text, its attributes, its causes, its traceback or its log."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError

from sqlalchemy_cmk import CmkError, tenant_scope
from tests.faults.failing import (
    FAILURES,
    IN_ANOTHERS_SCOPE,
    OUTSIDE_OF_A_SCOPE,
    SECRET,
    Failure,
    World,
    add,
    run,
    ssn_and,
)
from tests.faults.watching import Everything, found, told
from tests.support.vault import Vault


@pytest.fixture
def world(vault: Vault, tmp_path: Path) -> World:
    return World(vault, tmp_path)


def leaks(world: World, log: Everything, failures: dict[str, Failure], scope: str | None) -> dict[str, Any]:
    """Run what fails, and return what else than the expected error it gave, or which secrets were shown."""
    shown: dict[str, Any] = {}
    for name, (expected, work) in failures.items():
        log.taken()
        with world.vault.session() as session, tenant_scope(scope):
            try:
                work(world, session)
                shown[name] = "no error"
                continue
            except Exception as error:
                logging.getLogger("application").exception("this failed")
                said = told(error) + log.taken()
                if not isinstance(error, expected):
                    shown[name] = f"another error: {error!r:.200}"
        assert "this failed" in said
        if secrets := found(world.secrets(), said):
            shown[name] = secrets
    return shown


def test_no_error_of_a_statement_shows_a_value(world: World, log: Everything) -> None:
    assert leaks(world, log, FAILURES, "acme") == {}


def test_no_error_about_tenants_shows_a_value(world: World, log: Everything) -> None:
    assert leaks(world, log, OUTSIDE_OF_A_SCOPE, None) == {}
    assert leaks(world, log, IN_ANOTHERS_SCOPE, "globex") == {}


KEYS: dict[str, Failure] = {
    "add": (CmkError, add(ssn=SECRET)),
    "bulk": (CmkError, run(insert, [ssn_and()])),
    "query": (CmkError, run(lambda p: select(p).where(p.email == SECRET))),
    "read": (CmkError, lambda world, session: session.scalars(select(world.Patient)).all()),
}


def without_the_file(world: World) -> None:
    world.provider.path.rename(world.provider.path.with_suffix(".away"))


def damaged_file(world: World) -> None:
    text = world.provider.path.read_text()
    world.provider.path.write_text(text.replace('"format": 1', '"format": "1"'))


def damaged_wrappings(world: World) -> None:
    with world.vault.engine.begin() as connection:
        connection.execute(text("UPDATE cmk_wrappings SET wrapped = :w"), {"w": bytes(40)})


def no_wrappings(world: World) -> None:
    with world.vault.engine.begin() as connection:
        connection.execute(text("DELETE FROM cmk_wrappings"))


FAULTS: dict[str, Callable[[World], object]] = {
    "disabled": lambda world: world.provider.disable("local:pmk"),
    "no key file": without_the_file,
    "damaged key file": damaged_file,
    "damaged wrappings": damaged_wrappings,
    "no wrappings": no_wrappings,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_about_keys_shows_a_value_or_a_key(world: World, log: Everything, fault: str) -> None:
    secrets = world.secrets()
    world.secrets = lambda: secrets  # type: ignore[method-assign]
    FAULTS[fault](world)
    world.vault.keyring.forget()
    assert leaks(world, log, KEYS, "acme") == {}


def test_no_error_of_a_lost_connection_shows_a_value(world: World, log: Everything, tmp_path: Path) -> None:
    url = world.vault.engine.url
    lost = url.set(database=str(tmp_path / "no" / "folder")) if url.host is None else url.set(port=1)
    world.vault.engine.dispose()
    world.vault.engine = create_engine(lost)
    assert leaks(world, log, {name: (DBAPIError, work) for name, (_, work) in KEYS.items()}, "acme") == {}


def test_a_session_that_has_to_roll_back_shows_no_value(world: World) -> None:
    with world.vault.session() as session, tenant_scope("acme"):
        with pytest.raises(IntegrityError):
            add(code=1, ssn=SECRET)(world, session)
        with pytest.raises(PendingRollbackError) as caught:
            session.execute(text("SELECT 1"))
        assert found(world.secrets(), told(caught.value)) == []


def test_the_search_sees_a_value_in_an_error() -> None:
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError("it failed") from error
    except RuntimeError as error:
        assert found({"secret": SECRET}, told(error)) == ["secret"]
        assert found({"secret": SECRET}, str(error)) == []
