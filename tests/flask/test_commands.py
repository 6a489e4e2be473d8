"""``flask cmk``: the same commands as ``cmk``, with the application's own keyring."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from tests.flask.clinics import Clinics, db


def run(clinics: Clinics, *arguments: str, **options: Any) -> Result:
    return clinics.app.test_cli_runner().invoke(args=["cmk", *arguments], **options)


def test_the_commands_work_on_the_applications_keyring(clinics: Clinics) -> None:
    clinics.start()
    found = json.loads(run(clinics, "status", "--json").stdout)
    assert [line["tenant"] for line in found["tenants"]] == ["acme", "globex"]
    assert run(clinics, "assign", "--yes", "globex", "local:globex").exit_code == 0
    with clinics.app.app_context():
        keks = {line.tenant: line.kek_uri for line in clinics.cmk.keyring.status()}
    assert keks == {"acme": "local:acme", "globex": "local:globex"}
    assert run(clinics, "rekey", "run", "--rate", "0").exit_code == 0
    assert clinics.cmk.keyring.protected, "the command has closed the application's keyring"


def test_why_a_command_is_run_stands_in_the_trail(clinics: Clinics) -> None:
    clinics.start()
    assert run(clinics, "--because", "case 4711", "lock", "acme").exit_code == 0
    (row,) = json.loads(run(clinics, "audit", "show", "--last", "1", "--json").stdout)
    assert row["event"] == "lock" and row["detail"] == "because: case 4711"


def test_an_error_is_an_exit_code_and_one_line(clinics: Clinics) -> None:
    result = run(clinics.start(), "shred", "nobody", "--confirm", "nobody")
    assert result.exit_code == 5 and "Traceback" not in result.output
    told = json.loads(run(clinics, "status", "--json", "--state", "lost").stdout)
    assert told["error"] == "BadParameter"


def test_another_bind_is_named(make: Callable[..., Clinics], tmp_path: Path) -> None:
    clinics = make(config={"SQLALCHEMY_BINDS": {"archive": f"sqlite:///{tmp_path}/archive.db"}}).start()
    with clinics.app.app_context():
        archive = clinics.cmk.keyring.for_engine(db.engines["archive"])
        archive.database.run(
            lambda connection: [one.create(connection) for one in archive.database.own_tables]
        )
    assert run(clinics, "--bind", "archive", "assign", "--yes", "initech", "local:initech").exit_code == 0
    found = json.loads(run(clinics, "--bind", "archive", "status", "--json").stdout)
    assert [line["tenant"] for line in found["tenants"]] == ["initech"]
    result = run(clinics, "--bind", "archiv", "status")
    assert result.exit_code == 5 and "no bind key 'archiv' here: there are archive" in result.output


def test_other_processes_need_the_keyrings_place(clinics: Clinics) -> None:
    result = run(clinics.start(), "rekey", "run", "--workers", "2")
    assert result.exit_code == 2 and "cmk --keyring MODULE:ATTRIBUTE rekey run" in result.output


APP = """
from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy_cmk.flask import CMK

def create_app():
    app = Flask(__name__)
    app.config.update(CMK_PLATFORM_KEY="local:pmk", CMK_LOCAL_KEYS="keys.json")
    CMK(app, engine=create_engine("sqlite://"))
    return app
"""


def test_the_commands_are_imported_only_when_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(APP)

    def flask(*arguments: str, before: str = "pass") -> str:
        code = f"import sys; {before}; from flask.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env={**os.environ, "FLASK_APP": "served"},
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr

    without = "sys.modules['rich'] = sys.modules['sqlglot'] = None"
    assert "/static/<path:filename>" in flask("routes", before=without)
    assert "pip install 'sqlalchemy-cmk[cli,flask]'" in flask("cmk", "status", before=without)
    shown = flask("cmk", "--help")
    assert "Show and change the keys of an application's tenants" in shown
    assert "rotate-dek" in shown and "--bind" in shown and "Exit codes" in shown
    assert "No tenant has keys here." in flask("cmk", "status")
