"""`cmk rekey`: rows under their tenants' active DEKs, from the command line."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import distributed
import pytest

from tests.cli.conftest import PLACE, SECRET, Application
from tests.support.databases import Database

SEALED = {"patients": 2, "visits": 2, "letters": 2, "settings": 0}


@pytest.fixture
def rotated(make_application: Callable[..., Application], database: Database) -> Application:
    """An application on each database whose rows are all under a retired DEK."""
    application = make_application(database.url)
    application.write("acme", "globex")
    for tenant in ("acme", "globex"):
        application.run("rotate-dek", tenant)
    return application


def lines(application: Application, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    result = application.run("rekey", *arguments, "--json")
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def reports(application: Application, *arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    found = lines(application, *arguments, code=code)
    return {one["table"]: one for one in found if one["event"] == "report"}


def planned(application: Application, *arguments: str) -> dict[str, int]:
    return {one["table"]: one["rows"] for one in application.json("rekey", "plan", *arguments)}


def test_plan_counts_what_is_to_be_done_and_run_does_it(rotated: Application) -> None:
    assert planned(rotated) == SEALED
    done = reports(rotated, "run", "--rate", "0")
    assert {table: one["rows_changed"] for table, one in done.items()} == SEALED
    assert all(one["ok"] for one in done.values())
    assert planned(rotated) == dict.fromkeys(SEALED, 0)
    assert all(one["ok"] for one in reports(rotated, "verify").values())
    counted = {one["column"]: one for one in rotated.json("status", "--rows")["columns"]}
    assert (counted["patients.ssn"]["active"], counted["patients.ssn"]["retired"]) == (2, 0)
    assert rotated.run("doctor").exit_code == 0


def test_progress_comes_a_line_at_a_time(rotated: Application) -> None:
    found = lines(rotated, "run", "--table", "patients")
    progress = [one for one in found if one["event"] == "progress"]
    assert progress and progress[-1]["rows_read"] == 2 and progress[-1]["rows_expected"] == 2
    assert set(progress[-1]) >= {"table", "rows_changed", "seconds", "rows_a_second", "seconds_left"}
    assert found[-1]["event"] == "report" and found[-1]["run_id"]


def test_people_are_told_in_sentences(rotated: Application) -> None:
    result = rotated.run("rekey", "run", "--table", "patients", "--column", "ssn")
    assert result.exit_code == 0 and "patients: ssn: 2 rows read, 2 changed" in result.stdout
    assert "patients" in rotated.run("rekey", "plan").stdout
    assert SECRET not in result.output


def test_one_tenants_rows_and_one_column_are_chosen(rotated: Application) -> None:
    done = reports(rotated, "run", "--tenant", "acme", "--column", "patients.ssn")
    assert set(done) == {"patients"} and done["patients"]["rows_changed"] == 1
    assert planned(rotated, "--tenant", "globex") == {"patients": 1, "visits": 1, "letters": 1}
    assert planned(rotated, "--tenant", "acme")["patients"] == 0
    assert set(planned(rotated, "--tenant", "")) == {"settings"}


@pytest.mark.parametrize(
    "arguments", [("--table", "nowhere"), ("--column", "nothing"), ("--table", "visits", "--column", "ssn")]
)
def test_an_unknown_name_is_refused(app: Application, arguments: tuple[str, ...]) -> None:
    result = app.run("rekey", "run", *arguments)
    assert result.exit_code == 5 and repr(arguments[-1]) in result.stderr


def test_a_dry_run_opens_everything_and_writes_nothing(rotated: Application) -> None:
    before = rotated.raw("SELECT id, ssn, email FROM patients ORDER BY id")
    done = reports(rotated, "run", "--dry-run")
    assert done["patients"]["rows_changed"] == 2 and done["patients"]["run_id"] == ""
    assert rotated.raw("SELECT id, ssn, email FROM patients ORDER BY id") == before
    assert rotated.json("rekey", "report") == []
    result = rotated.run("rekey", "run", "--dry-run", "--table", "patients")
    assert "2 rows read, 2 would be changed" in result.stdout


def damage(application: Application) -> None:
    (stored,) = application.raw("SELECT ssn FROM patients WHERE clinic = 'acme'")[0]
    cut = bytes(stored)[:-1]
    application.execute("UPDATE patients SET ssn = :v WHERE clinic = 'acme'", v=cut)


def test_a_damaged_value_is_named_and_ends_it_with_1(rotated: Application) -> None:
    damage(rotated)
    done = reports(rotated, "run", code=1)
    assert [one["column"] for one in done["patients"]["damaged"]] == ["ssn"]
    assert done["visits"]["ok"]
    result = rotated.run("rekey", "verify", "--table", "patients")
    assert result.exit_code == 1 and "damaged: row [1], ssn" in result.stderr
    assert reports(rotated, "run", "--dry-run", "--table", "patients", code=1)
    shown = rotated.run("rekey", "report", done["patients"]["run_id"])
    assert shown.exit_code == 1 and "damaged: row [1], ssn" in shown.stderr
    assert SECRET not in shown.output


def test_a_tenant_whose_kek_refuses_is_left_and_named(app: Application) -> None:
    for tenant in ("acme", "globex"):
        app.run("rotate-dek", tenant)
    app.provider.disable("local:acme")
    done = reports(app, "run", "--table", "patients", code=1)
    assert set(done["patients"]["refused"]) == {"acme"} and done["patients"]["rows_left"] == 1
    found = lines(app, "run", "--table", "patients", "--tenant", "acme", code=3)
    assert (found[-1]["event"], found[-1]["error"]) == ("error", "KeyRevoked")
    assert app.run("rekey", "run", "--table", "patients", "--tenant", "acme").exit_code == 3


def test_a_table_that_cannot_be_done_does_not_keep_the_others_from_it(rotated: Application) -> None:
    rotated.execute("DROP TABLE settings")
    found = lines(rotated, "run", code=5)
    assert [one["table"] for one in found if one["event"] == "error"] == ["settings"]
    assert planned(rotated, "--table", "visits") == {"visits": 0}
    assert rotated.run("rekey", "run").exit_code == 5
    assert rotated.run("rekey", "run", "--table", "settings").exit_code == 5


def test_what_the_database_says_is_told_without_values(app: Application) -> None:
    app.run("rotate-dek", "acme")
    app.execute("CREATE TRIGGER refusing BEFORE UPDATE ON patients BEGIN SELECT RAISE(ABORT, 'refused'); END")
    result = app.run("rekey", "run", "--table", "patients")
    assert result.exit_code == 1 and "refused" in result.output and "UPDATE" not in result.output
    (line,) = (one for one in lines(app, "run", "--table", "patients", code=1) if one["event"] == "report")
    assert [one["key"] for one in line["damaged"]] == ["[1]"] and "refused" in line["damaged"][0]["reason"]
    assert SECRET not in str(line)


def test_runs_are_listed_and_reported(rotated: Application) -> None:
    run_id = reports(rotated, "run", "--table", "visits")["visits"]["run_id"]
    (line,) = rotated.json("rekey", "report")
    assert (line["run_id"], line["state"], line["rows_changed"]) == (run_id, "done", 2)
    assert rotated.json("rekey", "report", run_id) == line
    listed = rotated.run("rekey", "report").stdout
    assert run_id in listed and "done" in listed
    assert "done, started" in rotated.run("rekey", "report", run_id).stdout
    assert rotated.run("rekey", "report", "nonsense").exit_code == 5
    assert "was not running" in rotated.run("rekey", "pause", run_id).stdout
    assert "was not paused" in rotated.run("rekey", "resume", run_id).stdout
    assert rotated.run("rekey", "pause", "nonsense").exit_code == 5


# Rows per second at which a run is still under way when a loaded machine looks at it.
SLOW = "4"


def many(application: Application, rows: int) -> None:
    for _ in range(rows // 10):
        application.write(*["acme"] * 10)
    application.run("rotate-dek", "acme")


def wait_for_run(application: Application, state: str, rows: int = 0) -> dict[str, Any]:
    for _ in range(600):
        found = application.json("rekey", "report")
        if found and found[0]["state"] == state and found[0]["rows_read"] >= rows:
            return found[0]  # type: ignore[no-any-return]
        time.sleep(0.1)
    raise AssertionError(f"no run is {state}: {found}")


def start(application: Application, *arguments: str) -> Any:
    options = ("--table", "patients", "--chunk", "5", *arguments)
    return application.start("rekey", "run", *options, CMK_KEYRING=PLACE)


def test_a_run_is_paused_and_resumed_from_another_terminal(app: Application) -> None:
    many(app, 100)
    running = start(app, "--rate", SLOW)
    run_id = wait_for_run(app, "running", 5)["run_id"]
    assert "is paused" in app.run("rekey", "pause", run_id).stdout
    read, before = wait_for_run(app, "paused")["rows_read"], -1
    while read != before:  # the batch at hand is written yet
        time.sleep(0.7)
        read, before = wait_for_run(app, "paused")["rows_read"], read
    assert read < 100
    assert "continues" in app.run("rekey", "resume", run_id).stdout
    running.send_signal(signal.SIGKILL)
    running.communicate()
    # Its process is gone: the same command continues the same run.
    done = reports(app, "run", "--table", "patients", "--rate", "0")
    assert done["patients"]["run_id"] == run_id and done["patients"]["rows_changed"] == 101
    assert planned(app, "--table", "patients") == {"patients": 0}


def test_ctrl_c_ends_with_130_and_the_run_goes_on_later(app: Application) -> None:
    many(app, 100)
    running = start(app, "--rate", SLOW)
    run_id = wait_for_run(app, "running", 5)["run_id"]
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130 and "Traceback" not in err and SECRET not in out + err
    done = reports(app, "run", "--table", "patients", "--rate", "0")
    assert done["patients"]["run_id"] == run_id and done["patients"]["ok"]


def test_a_bar_on_a_terminal_shows_rows_their_pace_and_the_time_left(app: Application) -> None:
    many(app, 60)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sqlalchemy_cmk.cli", "rekey", "run", "--table", "patients"]
    environment = {**os.environ, "CMK_KEYRING": PLACE, "TERM": "xterm", "COLUMNS": "150"}
    with subprocess.Popen(
        [*command, "--chunk", "5", "--rate", "20"],
        cwd=app.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as running:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                shown += part
        os.close(ours)
    assert running.returncode == 0
    assert b"patients: ssn, email" in shown and b" rows/s" in shown and b"/62" in shown
    assert re.search(rb"0:00:0\d", shown)


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_several_processes_work_at_once(
    make_application: Callable[..., Application], database: Database
) -> None:
    application = make_application(database.url)
    many(application, 200)
    done = application.process(
        "rekey", "run", "--table", "patients", "--workers", "2", "--chunk", "5", "--rate", "0", "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["rows_changed"], report["ok"]) == (200, True)
    assert planned(application, "--table", "patients") == {"patients": 0}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_cluster_works_too(
    make_application: Callable[..., Application], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = make_application(database.url)
    many(application, 100)
    security = distributed.Security.temporary()
    for name, value in certificate_settings(security, application.folder).items():
        monkeypatch.setenv(name, value)
    # Workers are processes: they open keys of their own, found by the name of the keyring.
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        host="127.0.0.1",
        silence_logs=50,
        security=security,
    ) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        arguments = ("--table", "patients", "--dask", cluster.scheduler_address, "--chunk", "5", "--json")
        done = application.process("rekey", "run", *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["rows_changed"] == 100


def certificate_settings(security: Any, folder: Path) -> dict[str, str]:
    """Environment variables from which Dask reads the certificates of a client, in files."""
    files = {
        "CA_FILE": ("ca.pem", security.tls_ca_file),
        "CLIENT__CERT": ("cert.pem", security.tls_client_cert),
        "CLIENT__KEY": ("key.pem", security.tls_client_key),
    }
    settings = {}
    for name, (file, content) in files.items():
        (folder / file).write_text(content)
        settings[f"DASK_DISTRIBUTED__COMM__TLS__{name}"] = str(folder / file)
    return settings


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "ws://127.0.0.1:9", "TLS://127.0.0.1:9"]
)
def test_a_cluster_without_tls_is_refused_before_it_is_called(app: Application, address: str) -> None:
    result = app.run("rekey", "run", "--dask", address)
    assert result.exit_code == 5 and "--dask-insecure" in result.stderr and "tls://" in result.stderr


def test_a_cluster_with_tls_wants_a_certificate(app: Application) -> None:
    result = app.run("rekey", "run", "--dask", "tls://127.0.0.1:9")
    assert result.exit_code == 5 and "distributed.comm.tls.ca-file" in result.stderr


def test_a_cluster_that_is_not_there_is_told(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: client(address, timeout=0.5))
    result = app.run("rekey", "run", "--dask", "tcp://127.0.0.1:9", "--dask-insecure")
    assert result.exit_code == 4 and "scheduler" in result.stderr and "Traceback" not in result.stderr


def test_a_mixed_columns_rows_are_sealed(
    make_application: Callable[..., Application], database: Database
) -> None:
    application = make_application(database.url)
    module = application.folder / "clinic_app.py"
    module.write_text(module.read_text().replace('on_revoked="seal"', "accept_plaintext=True"))
    plain: Any = "a cold" if database.name == "sqlite" else b"a cold"
    application.execute("INSERT INTO visits (id, clinic, reason) VALUES (9, 'acme', :r)", r=plain)
    assert planned(application)["visits"] == 1
    assert reports(application, "run", "--table", "visits")["visits"]["rows_changed"] == 1
    counted = {one["column"]: one for one in application.json("status", "--rows")["columns"]}
    assert (counted["visits.reason"]["active"], counted["visits.reason"]["plain"]) == (1, 0)
