"""`cmk impact`: what stops when a tenant's key is switched off."""

from collections.abc import Callable

import pytest

from sqlalchemy_cmk.rekey import Job, Rekey
from tests.cli.conftest import SECRET, Application
from tests.support.databases import Database

TABLES = {"patients": ["ssn", "email"], "visits": ["reason"], "letters": ["body"]}


@pytest.fixture
def anywhere(make_application: Callable[..., Application], database: Database) -> Application:
    """An application on each database: two rows of acme in each table, one of globex, one value is NULL."""
    application = make_application(database.url)
    application.keyring.assign("acme", "local:acme")
    application.write("acme", "acme", "globex")
    application.execute("UPDATE patients SET email = NULL WHERE id = 1")
    application.keyring.forget()
    application.keyring.warm(["acme"], new=True)
    application.keyring.keys.background.flush()
    return application


@pytest.mark.parametrize("exact", [False, True])
def test_it_counts_rows_and_values_of_one_tenant_by_column(anywhere: Application, exact: bool) -> None:
    found = anywhere.json("impact", "acme", *(["--exact"] if exact else []))
    assert {one["name"]: [c["name"] for c in one["columns"]] for one in found["tables"]} == TABLES
    counted = {"rows": 2, "known": "counted"}
    assert [one["rows"] for one in found["tables"]] == [counted] * 3
    values = {f"{t['name']}.{c['name']}": c["values"] for t in found["tables"] for c in t["columns"]}
    assert values.pop("patients.email") == {"rows": 1, "known": "counted"}
    assert [*values.values()] == [counted] * 3
    assert found["keks"] == ["local:acme"] and found["exact"] is exact
    assert found["proven_at"] and found["opened_by"] and not any(one["problem"] for one in found["tables"])


def test_names_that_a_collation_holds_equal_are_told_apart_when_counted(anywhere: Application) -> None:
    anywhere.write("ACME")
    found = anywhere.json("impact", "acme", "--exact")
    assert {one["rows"]["rows"] for one in found["tables"]} == {2}


def test_the_platforms_own_rows_are_those_of_no_tenant(app: Application) -> None:
    app.keyring.assign("", "local:pmk")
    app.execute("INSERT INTO settings (id, token) VALUES (1, x'00')")
    found = app.json("impact", "")
    assert [one["name"] for one in found["tables"]] == ["settings"]
    (settings,) = app.json("impact", "", "--exact")["tables"]
    assert settings["rows"]["rows"] == 1 and settings["columns"][0]["values"]["rows"] == 0


def test_it_says_when_cached_keys_are_gone(app: Application) -> None:
    times = {"refused": 300, "unreachable": 3600, "locked": 2, "lock_unseen": 300}
    assert app.json("impact", "acme")["times"] == times
    app.run("set-grace", "acme", "0")
    assert app.json("impact", "acme")["times"] == {**times, "unreachable": 300}


def test_it_names_who_else_is_under_the_kek_and_which_kek_old_backups_hold(app: Application) -> None:
    app.run("assign", "globex", "local:acme", "--yes")
    app.run("assign", "initech", "local:acme", "--yes")
    app.run("shred", "initech", "--confirm", "initech")
    found = app.json("impact", "globex")
    assert found["neighbours"] == [{"kek_uri": "local:acme", "count": 1, "names": ["acme"]}]
    assert found["earlier_keks"] == ["local:pmk"]
    assert "wrappings by local:pmk" in found["remains"][-1]
    app.run("add-wrapping", "globex", "local:second")
    assert app.json("impact", "globex")["keks"] == ["local:acme", "local:second"]


def test_it_names_runs_conversions_and_indexes_that_stop(app: Application) -> None:
    patients = app.models.Patient.__table__
    Rekey(app.keyring).run(Job.of(patients, ["ssn"]))
    assert app.json("impact", "acme")["stops"] == []  # that run has ended
    app.execute("UPDATE cmk_rekey_runs SET state = 'paused', open_slot = 1")
    conversion = "INSERT INTO cmk_conversions (schema_name, table_name, column_name, plan, state) "
    app.execute(conversion + "VALUES ('', 'visits', 'reason', 'x', 'copying')")
    stops = app.json("impact", "acme")["stops"]
    assert [(one["kind"], one["name"]) for one in stops][1:] == [("conversion", "visits.reason")]
    assert stops[0]["kind"] == "run" and "patients" in stops[0]["what"]


def test_the_text_says_the_same_and_shows_no_secret(app: Application) -> None:
    module = app.folder / "clinic_app.py"
    indexed = module.read_text().replace("deterministic=True", "index=[Exact()]")
    module.write_text("from sqlalchemy_cmk.search import Exact\n" + indexed)
    result = app.run("impact", "acme")
    assert result.exit_code == 0 and SECRET not in result.output
    assert (
        "index patients.email_exact: questions about the tenant's rows end with KeyRevoked" in result.stdout
    )
    assert "300 s after the KEK refuses" in result.stdout
    assert "Under local:acme is no other tenant." in result.stdout
    assert max(map(len, result.stdout.splitlines()[:9])) <= 80


def test_an_unknown_tenant_and_a_missing_table_are_named(app: Application) -> None:
    assert "did you mean 'acme'" in app.json("impact", "acmee", code=5)["message"]
    app.execute("DROP TABLE visits")
    found = {one["name"]: one for one in app.json("impact", "acme")["tables"]}
    assert "visits" in found["visits"]["problem"] and found["patients"]["rows"]["rows"] == 1
