"""The commands that change keys: what they change, what they ask first, and what they say."""

import json
import signal
import time

import pytest

from tests.cli.conftest import PLACE, Application

SOON = 120  # seconds, until a process that does not do its part is given up


def keks(app: Application, tenant: str) -> set[str]:
    """The KEKs that wrap a tenant's DEKs."""
    rows = app.raw(
        "SELECT w.kek_uri FROM cmk_wrappings w JOIN cmk_deks d ON d.id = w.dek_id "
        f"WHERE d.tenant = '{tenant}'"
    )
    return {row[0] for row in rows}


def deks(app: Application, tenant: str, purpose: str) -> list[str]:
    query = f"SELECT state FROM cmk_deks WHERE tenant = '{tenant}' AND purpose = '{purpose}' ORDER BY state"
    return [row[0] for row in app.raw(query)]


def test_assign_puts_a_tenant_under_a_kek(app: Application) -> None:
    assert app.json("assign", "--yes", "globex", "local:globex") == {
        "tenant": "globex",
        "kek_uri": "local:globex",
        "before": "local:pmk",
        "fresh_dek": False,
    }
    assert keks(app, "globex") == {"local:globex"} and deks(app, "globex", "randomized") == ["active"]
    assert "before: local:globex" in app.run("assign", "--yes", "globex", "local:pmk").stdout


def test_assign_tells_that_a_tenant_had_no_keys_as_after_a_mistyped_name(app: Application) -> None:
    assert "had no keys here until now" in app.run("assign", "--yes", "amce", "local:acme").stdout


def test_assign_asks_before_it_makes_a_tenant_and_names_the_one_that_was_meant(app: Application) -> None:
    result = app.run("assign", "amce", "local:acme", typed="n\n")
    assert result.exit_code == 2 and "amce has no keys here: did you mean 'acme'?" in result.stderr
    assert app.raw("SELECT tenant FROM cmk_tenants WHERE tenant = 'amce'") == []
    app.provider.ensure("local:initech")
    assert app.json("assign", "initech", "local:initech", "--new")["before"] is None


def test_assign_asks_before_a_tenant_shares_the_kek_of_another(app: Application) -> None:
    result = app.run("assign", "globex", "local:acme", typed="n\n")
    assert result.exit_code == 2 and "local:acme serves acme already" in result.stderr
    assert keks(app, "globex") == {"local:pmk"}
    assert app.run("assign", "globex", "local:acme", typed="y\n").exit_code == 0


def test_assign_asks_before_it_makes_a_local_kek(app: Application) -> None:
    result = app.run("assign", "globex", "local:globx", typed="n\n")
    assert result.exit_code == 2 and "There is no KEK local:globx yet" in result.stderr
    assert not app.provider.has("local:globx")


def test_the_platforms_kek_is_shared_without_a_question(app: Application) -> None:
    assert app.run("assign", "acme", "local:pmk").exit_code == 0


def test_assign_moves_several_tenants_and_tells_who_is_new(app: Application) -> None:
    found = app.json("assign", "--yes", "acme", "globex", "amce", "local:north", "--rate", "1000")
    assert sorted(found["assigned"]) == ["acme", "amce", "globex"] and found["new"] == ["amce"]
    assert found["failed"] == {} and keks(app, "acme") == keks(app, "globex") == {"local:north"}
    told = app.run("assign", "--yes", "acme", "globex", "local:south").stdout
    assert told == "2 tenants are under local:south\n"


def test_assign_moves_every_tenant_of_a_kek(app: Application) -> None:
    app.run("assign", "--yes", "acme", "globex", "local:north")
    app.keyring.assign("initech", "local:other")
    found = app.json("assign", "--yes", "--from-kek", "local:north", "local:south")
    assert sorted(found["assigned"]) == ["acme", "globex"] and found["new"] == []
    assert [line.kek_uri for line in app.keyring.status(["initech"])] == ["local:other"]
    assert (
        app.json("assign", "--yes", "--from-kek", "local:north", "local:south", code=5)["error"]
        == "ConfigurationError"
    )


def test_assign_names_who_failed_and_moves_the_rest(app: Application) -> None:
    app.provider.disable("local:acme")
    found = app.json("assign", "--yes", "acme", "globex", "local:north", code=1)
    assert found["assigned"] == ["globex"] and list(found["failed"]) == ["acme"]
    again = app.run("assign", "--yes", "acme", "globex", "local:north")
    assert again.exit_code == 1 and "acme: " in again.stderr and "1 failed" in again.stdout


@pytest.mark.parametrize(
    "arguments", [["local:north"], ["acme", "local:north", "--from-kek", "local:pmk"]], ids=" ".join
)
def test_assign_is_told_either_tenants_or_their_kek(app: Application, arguments: list[str]) -> None:
    assert app.run("assign", *arguments).exit_code == 2


def test_assign_makes_a_fresh_dek_on_request(app: Application) -> None:
    app.json("assign", "--yes", "globex", "local:globex", "--fresh-dek")
    assert deks(app, "globex", "randomized") == ["active", "retired"]


def test_the_platforms_own_tenant_is_written_as_an_empty_name(app: Application) -> None:
    app.keyring.warm([""])
    assert app.run("assign", "--yes", "", "local:newer").stdout.startswith("(platform) is under local:newer")


def test_rotate_dek_makes_a_new_dek_without_a_question(app: Application) -> None:
    assert app.json("rotate-dek", "acme") == {"tenant": "acme", "purpose": "randomized"}
    assert deks(app, "acme", "randomized") == ["active", "retired"]


@pytest.mark.parametrize(("answer", "code", "after"), [("y\n", 0, 2), ("n\n", 2, 1), ("", 2, 1)])
def test_rotating_the_fixed_dek_is_asked_about_with_the_consequence(
    app: Application, answer: str, code: int, after: int
) -> None:
    result = app.run("rotate-dek", "acme", "--purpose", "deterministic", typed=answer)
    assert result.exit_code == code and "re-encrypted" in result.stderr
    assert len(deks(app, "acme", "deterministic")) == after


def test_rotating_the_fixed_dek_is_confirmed_for_scripts(app: Application) -> None:
    assert app.json("rotate-dek", "acme", "--purpose", "deterministic", "--yes")["purpose"] == "deterministic"
    assert deks(app, "acme", "deterministic") == ["active", "retired"]


def test_a_question_leaves_stdout_to_json(app: Application) -> None:
    result = app.run("rotate-dek", "acme", "--purpose", "deterministic", "--json", typed="n\n")
    assert json.loads(result.stdout) == {"error": "NotConfirmed", "message": "nothing was done"}


def test_a_wrapping_is_added_and_dropped(app: Application) -> None:
    told = {"tenant": "acme", "kek_uri": "local:second"}
    assert app.json("add-wrapping", "acme", "local:second") == {**told, "wraps": True}
    assert keks(app, "acme") == {"local:acme", "local:second"}
    dropped = {**told, "wraps": False, "dropped": 2}
    assert app.json("drop-wrapping", "acme", "local:second", "--yes") == dropped
    assert keks(app, "acme") == {"local:acme"}
    again = app.run("drop-wrapping", "acme", "local:second", "--yes")
    assert again.stdout == "local:second wrapped no DEK of acme: nothing was done\n"


def test_dropping_a_wrapping_is_asked_about(app: Application) -> None:
    app.run("add-wrapping", "acme", "local:second")
    assert app.run("drop-wrapping", "acme", "local:second", typed="n\n").exit_code == 2
    assert keks(app, "acme") == {"local:acme", "local:second"}
    told = app.run("drop-wrapping", "acme", "local:second", typed="y\n").stdout
    assert told == "local:second no longer wraps the 2 DEKs of acme\n"


def test_the_last_wrapping_is_not_dropped(app: Application) -> None:
    result = app.run("drop-wrapping", "acme", "local:acme", "--yes")
    assert result.exit_code == 5 and "last KEK" in result.stderr
    assert keks(app, "acme") == {"local:acme"}


def test_rewrap_moves_every_tenant_to_the_newest_versions(app: Application) -> None:
    app.provider.rotate("local:acme")
    app.provider.rotate("local:pmk")
    assert app.json("rewrap") == {"tenants": 2, "rewrapped": 4, "failed": {}}
    (kek,) = app.status("acme")["keks"]
    assert kek["versions"] == [app.provider.newest_version("local:acme")]
    assert "0 DEKs rewrapped, 2 tenants" in app.run("rewrap").stdout


def test_rewrap_of_one_tenant_leaves_the_others(app: Application) -> None:
    app.provider.rotate("local:acme")
    app.provider.rotate("local:pmk")
    assert app.json("rewrap", "globex", "--rate", "100")["rewrapped"] == 2
    (kek,) = app.status("acme")["keks"]
    assert kek["versions"] != [app.provider.newest_version("local:acme")]


def test_rewrap_names_who_failed_and_does_the_rest(app: Application) -> None:
    app.provider.rotate("local:pmk")
    app.provider.disable("local:acme")
    result = app.json("rewrap", code=1)
    assert result["rewrapped"] == 2 and list(result["failed"]) == ["acme"]
    again = app.run("rewrap")
    assert again.exit_code == 1 and "1 failed" in again.stdout and "acme: " in again.stderr


@pytest.mark.parametrize("rate", ["0", "-1", "fast"])
def test_a_rate_is_a_number_above_zero(app: Application, rate: str) -> None:
    assert app.run("rewrap", "--rate", rate).exit_code == 2


def test_the_progress_bar_is_on_stderr_and_stdout_is_json(app: Application) -> None:
    result = app.process("rewrap", "--json", FORCE_COLOR="1", TERM="xterm")
    assert json.loads(result.stdout)["tenants"] == 2
    assert "rewrapping" in result.stderr and "2/2" in result.stderr


def test_a_rewrap_that_is_stopped_says_so_and_goes_on_the_next_time(app: Application) -> None:
    app.provider.rotate("local:acme")
    app.provider.rotate("local:pmk")
    running = app.start("--keyring", PLACE, "rewrap", "--rate", "0.3")
    give_up = time.monotonic() + SOON
    # Two DEKs at this rate take three seconds for acme, and three more before globex is begun.
    while not app.raw("SELECT 1 FROM cmk_audit WHERE event = 'rewrap'"):
        assert time.monotonic() < give_up and running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=SOON)
    assert (running.returncode, out) == (130, "") and "Traceback" not in err and "stopped" in err
    assert app.json("rewrap") == {"tenants": 2, "rewrapped": 2, "failed": {}}
