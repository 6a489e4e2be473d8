"""The command as a process: exit codes, JSON, help, and nothing secret."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from examples import clinic
from sqlalchemy_cmk import errors
from sqlalchemy_cmk.cli.app import cmk
from sqlalchemy_cmk.cli.exits import EPILOG, ExitCode, exit_code
from tests.cli.conftest import ROOT, SECRET, Application

COMMANDS = ["status", "doctor", "assign", "rewrap", "rotate-dek", "add-wrapping", "drop-wrapping", "shred"]
COMMANDS += ["audit", "byok", "rekey", "drop-retired", "scrub", "local", "lock", "unlock", "certificate"]
COMMANDS += ["offboard", "open-export"]

SUBCOMMANDS = [
    ["audit", "show"],
    ["audit", "verify"],
    ["audit", "heads"],
    ["audit", "adopt"],
    ["certificate", "make-key"],
    ["certificate", "verify"],
    ["byok", "make"],
    ["byok", "import"],
    ["rekey", "run"],
]


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert CliRunner().invoke(cmk, ["--version"]).output.split()[-1] == project["version"]


@pytest.mark.parametrize(
    "line",
    [
        "--keyring examples.clinic:nothing status --json",
        "status --json --keyring examples.clinic:nothing",
        "--json status --keyring=examples.clinic:nothing",
        "status --because 4711 --json --keyring examples.clinic:nothing",
        "--json --keyring examples.clinic:nothing rekey run --table patients",
    ],
)
def test_global_options_may_stand_anywhere(line: str) -> None:
    result = CliRunner().invoke(cmk, line.split())
    assert json.loads(result.stdout)["error"] == "ConfigurationError" and "nothing" in result.stdout
    assert result.exit_code == ExitCode.CONFIGURATION


def disable(app: Application) -> None:
    app.provider.disable("local:acme")


def lose_keys(app: Application) -> None:
    (app.folder / "keys.json").unlink()


def damage_wrappings(app: Application) -> None:
    app.provider.rotate("local:acme")
    app.execute("UPDATE cmk_wrappings SET wrapped = :w", w=bytes(40))


def break_trail(app: Application) -> None:
    app.execute("DELETE FROM cmk_audit WHERE seq = 1")


def nothing(app: Application) -> None:
    pass


CASES = [
    (nothing, "status", 0, None),
    (nothing, "doctor", 0, None),
    (nothing, "rewrap", 0, None),
    (disable, "doctor", 1, None),
    (break_trail, "audit verify", 1, None),
    (nothing, "rotate-dek", 2, "MissingParameter"),
    (nothing, "status --nonsense", 2, "NoSuchOption"),
    (disable, "rotate-dek acme", 3, "KeyRevoked"),
    (lose_keys, "rotate-dek acme", 4, "KeyUnavailable"),
    (nothing, "rotate-dek nobody", 5, "ConfigurationError"),
    (nothing, "assign acme sftp:key", 5, "ConfigurationError"),
    (damage_wrappings, "rewrap acme", 6, "TamperedError"),
    (nothing, f"rotate-dek {'x' * 191}", 6, "TenantRequired"),
]


@pytest.mark.parametrize(
    ("prepare", "command", "code", "error"), CASES, ids=[f"{case[1][:20]}-{case[2]}" for case in CASES]
)
def test_a_command_ends_with_its_exit_code(
    app: Application, prepare: Any, command: str, code: int, error: str | None
) -> None:
    prepare(app)
    people = app.process(*command.split())
    assert people.returncode == code and "Traceback" not in people.stderr
    programs = app.run(*command.split(), "--json")
    told = json.loads(programs.stdout)
    assert programs.exit_code == code
    if error is not None:
        assert people.stdout == "" and (error in people.stderr or code == 2)
        assert told["error"] == error and told["message"] and set(told) == {"error", "message"}
        assert programs.stderr == ""


@pytest.mark.parametrize(
    "error",
    [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.CmkError)],
)
def test_every_error_of_the_library_has_an_exit_code(error: type[errors.CmkError]) -> None:
    assert exit_code(error("x")) in (
        ExitCode.REVOKED,
        ExitCode.UNAVAILABLE,
        ExitCode.CONFIGURATION,
        ExitCode.OTHER,
        ExitCode.APPROVAL,
    )


def test_an_error_is_one_line_for_people(app: Application) -> None:
    result = app.process("rotate-dek", "nobody")
    assert result.stderr == "ConfigurationError: no tenant 'nobody' has keys here\n"


def test_an_error_before_the_subcommand_is_json_too(app: Application) -> None:
    result = app.process("--nonsense", "status", "--json")
    assert result.returncode == 2 and json.loads(result.stdout)["error"] == "NoSuchOption"


def test_help_names_every_command_and_every_exit_code(app: Application) -> None:
    shown = app.process("--help").stdout
    assert all(re.search(rf"^  {name}  +\w.*\.$", shown, re.MULTILINE) for name in COMMANDS)
    assert {int(code) for code in re.findall(r"^    (\d+)  ", shown, re.MULTILINE)} == set(ExitCode)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("command", [[name] for name in COMMANDS] + SUBCOMMANDS)
def test_help_of_a_command_needs_no_keyring(command: list[str]) -> None:
    result = CliRunner().invoke(cmk, [*command, "--help"], prog_name="cmk")
    assert result.exit_code == 0 and "Usage: cmk" in result.stdout


def test_the_page_tells_the_same_exit_codes_and_every_command() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == set(ExitCode)
    assert all(f"`cmk {name}" in page or f"`{name}" in page for name in COMMANDS)
    assert {int(code) for code in re.findall(r"^  (\d+) ", EPILOG, re.MULTILINE)} == set(ExitCode)


def test_without_click_the_extra_is_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['click'] = None; from sqlalchemy_cmk.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 5 and "pip install 'sqlalchemy-cmk[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_secret_is_printed(app: Application) -> None:
    keys = json.loads((app.folder / "keys.json").read_text())
    secrets = {version["key"] for kek in keys["keks"].values() for version in kek["versions"]}
    secrets |= {SECRET, "a cough", "Dear colleague", "me@acme.example"}
    printed = ""
    for command in (
        "status --newest",
        "doctor",
        "audit show",
        "audit verify",
        "audit heads",
        "rewrap",
        "rotate-dek acme",
    ):
        for as_json in ([], ["--json"]):
            result = app.run(*command.split(), *as_json)
            printed += result.output
    damage_wrappings(app)
    app.execute("UPDATE patients SET ssn = :v", v=SECRET)
    for command in ("doctor", "rewrap", "rewrap acme"):
        printed += app.run(*command.split()).output + app.run(*command.split(), "--json").output
    assert "table of wrappings" in printed and "plain text" in printed
    assert [one for one in secrets if one in printed] == []


def test_the_example_application_has_a_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINIC_DATA", str(tmp_path / "clinic"))
    monkeypatch.setenv("CMK_KEYRING", "examples.clinic:keyring")
    monkeypatch.setattr(clinic.seed, "PATIENTS", {"hillside": 2})
    clinic.create_app().extensions["clinic"].close()
    done = subprocess.run(
        [sys.executable, "-m", "sqlalchemy_cmk.cli", "doctor", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {one["level"] for one in json.loads(done.stdout)["findings"]} == {"ok"}
