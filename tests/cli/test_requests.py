"""`cmk requests`, `approve` and `refuse`: two people at the command line."""

from datetime import timedelta

import pytest

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.runtime.clock import this_second
from tests.cli.conftest import Application
from tests.cli.test_dropping import retired_long_ago

GUARDED = """
    made = Keyring(
        engine(),
        platform_key="local:pmk",
        providers=[LocalKeyProvider(FOLDER / "keys.json")],
        two_people=["shred", "assign", "drop_retired", "unlock"],
        actor=lambda: os.environ["CLINIC_USER"],
    )
"""


@pytest.fixture
def app(app: Application, monkeypatch: pytest.MonkeyPatch) -> Application:
    """The application whose changes need two people. It knows from its own sign-in who acts: ann, first."""
    module = app.folder / "clinic_app.py"
    lines = module.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("    made = Keyring("))
    module.write_text("\n".join([*lines[:at], GUARDED, *lines[at + 1 :]]))
    monkeypatch.setenv("CLINIC_USER", "ann")
    return app


def test_a_tenant_is_shredded_by_two_people(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    shred = ("shred", "acme", "--confirm", "acme")
    error = app.json(*shred, code=ExitCode.APPROVAL)
    assert error["error"] == "ApprovalRequired" and f"cmk approve {error['request']}" in error["message"]
    (waiting,) = app.json("requests")["requests"]
    assert (waiting["id"], waiting["requested_by"], waiting["state"]) == (error["request"], "ann", "pending")
    assert "another person" in app.json("approve", waiting["id"], "--yes", code=5)["message"]
    monkeypatch.setenv("CLINIC_USER", "bob")
    refusal = app.run("approve", waiting["id"], typed="n\n")
    assert refusal.exit_code == 2 and "shred of acme, asked by ann" in refusal.stderr
    assert "is approved by bob" in app.run("approve", waiting["id"], typed="y\n").stdout
    monkeypatch.setenv("CLINIC_USER", "ann")
    assert "approved by bob; not done yet" in app.run("requests").stdout
    assert app.json(*shred)["state"] == "shredded"
    assert app.json("requests")["requests"] == []


def test_what_waits_is_in_the_status_and_in_what_the_doctor_finds(app: Application) -> None:
    app.run("assign", "acme", "local:pmk")
    shown = app.run("status").stdout
    (waiting,) = app.json("status")["requests"]
    assert f"{waiting['id']}  assign of acme, asked by ann" in shown
    assert f"next: cmk approve {waiting['id']}, by somebody else" in shown
    assert max(map(len, shown.splitlines())) <= 100
    found = [one for one in app.json("doctor")["findings"] if one["subject"] == f"request {waiting['id']}"]
    assert [one["level"] for one in found] == ["warning"] and "cmk refuse" in found[0]["remedy"]
    app.execute("UPDATE cmk_requests SET state = 'approved'")
    problem = next(one for one in app.json("doctor", code=1)["findings"] if one["subject"] == "requests")
    assert "was not written by this application" in problem["what"]


def test_a_refused_request_says_why(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    request = app.json("assign", "acme", "local:pmk", code=8)["request"]
    monkeypatch.setenv("CLINIC_USER", "bob")
    assert (
        app.run("refuse", request, "--reason", "the contract goes on").stdout
        == f"{request} is refused by bob\n"
    )
    assert "the contract goes on" in app.json("approve", request, "--yes", code=5)["message"]
    assert app.run("requests").stderr == "No request is open.\n"


def test_of_many_tenants_each_request_is_named(app: Application) -> None:
    app.keyring.assign("globex", "local:globex")
    moved = app.run("assign", "acme", "globex", "local:pmk")
    assert moved.exit_code == ExitCode.APPROVAL
    again = app.json("assign", "acme", "globex", "local:pmk", code=8)
    assert again["requested"].keys() == {"acme", "globex"} and again["failed"] == {}
    for tenant, request in again["requested"].items():
        assert f"{tenant}: request {request} waits for somebody else" in moved.stderr


def test_retired_deks_of_all_tenants_wait_too(app: Application) -> None:
    for table in ("patients", "visits", "letters", "documents"):
        app.execute(f"DELETE FROM {table}")
    retired_long_ago(app)
    report = app.json("drop-retired", code=8)
    assert report["dropped"] == [] and report["requested"].keys() == {"acme"}


def test_a_request_that_is_over_is_shown_no_more(app: Application) -> None:
    app.run("unlock", "acme")  # it is not locked: nothing to ask for
    assert app.json("requests")["requests"] == []
    app.run("shred", "acme", "--confirm", "acme")
    assert len(app.json("requests", "--tenant", "acme")["requests"]) == 1
    app.keyring.approvals.set_clock(lambda: this_second() + timedelta(days=1))
    assert app.keyring.approvals.pending() == [] == app.json("requests")["requests"]
