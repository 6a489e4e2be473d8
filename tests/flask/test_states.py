"""The health endpoint: what a load balancer, a stranger and an operator see of the keys."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from sqlalchemy import create_engine, text

from sqlalchemy_cmk.flask import CMK, health, states
from tests.flask.clinics import Clinics, db, keyring
from tests.flask.test_problems import lose, revoke


@pytest.fixture(autouse=True)
def counted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "SECONDS_KEPT", 0)


@pytest.fixture
def served(make: Callable[..., Clinics]) -> Iterator[Clinics]:
    clinics = make(health_details=lambda: request.headers.get("X-Clinic") == "operator")
    clinics.app.register_blueprint(health)
    yield clinics.start()


def refuse(clinics: Clinics) -> None:
    """Have the key tables note that a customer's key is revoked."""
    revoke(clinics)
    with clinics.app.app_context():
        clinics.cmk.keyring.kek_uses(["acme"])


def test_strangers_see_counts_and_no_names(served: Clinics) -> None:
    refuse(served)
    answer = served.get("/health/keys")
    assert answer.json == {"status": "ok", "tenants": {"ok": 1, "revoked": 1, "locked": 0, "shredded": 0}}
    assert answer.headers["Cache-Control"] == "no-store"


def test_who_may_sees_which_tenants_are_not_ok(served: Clinics) -> None:
    refuse(served)
    found = served.get("/health/keys", "operator").json
    (line,) = found["not_ok"]
    assert (line["tenant"], line["state"], line["database"]) == ("acme", "revoked", "default")
    assert "local:acme" in line["reason"] and line["since"]
    assert found["databases"] == {"default": {"ok": 1, "revoked": 1}}


def test_only_true_lets_names_be_seen(make: Callable[..., Clinics]) -> None:
    clinics = make(health_details=lambda: "no")
    clinics.app.register_blueprint(health)
    assert "not_ok" not in clinics.start().get("/health/keys").json


def test_customers_and_vaults_do_not_take_a_server_out_of_service(served: Clinics) -> None:
    lose(served)
    assert served.get("/health/keys").status_code == 200


def test_a_server_without_key_tables_is_out_of_service(served: Clinics) -> None:
    with served.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("DROP TABLE cmk_tenants"))
    answer = served.get("/health/keys", "operator")
    assert (answer.status_code, answer.json) == (503, {"status": "unavailable"})
    assert "Retry-After" in answer.headers


def test_the_database_counts_once_in_a_while(served: Clinics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "SECONDS_KEPT", 60)
    before = served.get("/health/keys").json
    refuse(served)
    assert served.get("/health/keys").json == before
    monkeypatch.setattr(states, "SECONDS_KEPT", 0)
    assert served.get("/health/keys").json != before


def test_it_is_answered_to_head_too(served: Clinics) -> None:
    answer = served.client.head("/health/keys")
    assert (answer.status_code, answer.data) == (200, b"")


def test_each_database_is_counted(make: Callable[..., Clinics], tmp_path: Path) -> None:
    config = {"SQLALCHEMY_BINDS": {"archive": f"sqlite:///{tmp_path}/archive.db"}}
    clinics = make(health_details=lambda: True, config=config)
    clinics.app.register_blueprint(health)
    clinics.start()
    with clinics.app.app_context():
        archive = db.engines["archive"]
        clinics.cmk.keyring.for_engine(archive).database.run(
            lambda connection: [one.create(connection) for one in tables(clinics)]
        )
        clinics.cmk.keyring.for_engine(archive).assign("initech", "local:initech")
    found = clinics.get("/health/keys").json
    assert found["databases"] == {"default": {"ok": 2}, "archive": {"ok": 1}}
    assert found["tenants"]["ok"] == 3


def tables(clinics: Clinics) -> Any:
    return clinics.cmk.keyring.database.own_tables


def test_a_dry_run_has_nothing_to_count(tmp_path: Path) -> None:
    app = Flask("clinics")
    CMK(app, keyring(tmp_path, dry_run=True), engine=create_engine("sqlite://"), health_details=lambda: True)
    app.register_blueprint(health)
    answer = app.test_client().get("/health/keys")
    assert answer.status_code == 200 and answer.json["dry_run"] is True
