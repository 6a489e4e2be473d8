"""Each road on which a command can fail ends with the exit code that the help documents."""

import pytest
from click.testing import CliRunner

from sqlalchemy_cmk.cli.app import cmk
from sqlalchemy_cmk.cli.exits import ExitCode
from tests.cli.conftest import Application
from tests.cli.test_help import COMMANDS

# Commands that work without a keyring.
ALONE = {"audit check-export", "byok make", "byok import", "certificate make-key", "certificate verify"}
ALONE |= {"open-export"}
# What each of the others needs; those that are not here need nothing.
ARGUMENTS = {
    "assign": "acme local:acme --yes",
    "rotate-dek": "acme",
    "add-wrapping": "acme local:second",
    "drop-wrapping": "acme local:second --yes",
    "set-grace": "acme 0",
    "lock": "acme",
    "unlock": "acme",
    "shred": "acme --confirm acme",
    "impact": "acme",
    "approve": "5f0c --yes",
    "refuse": "5f0c",
    "offboard": "acme --to leaves --clear --confirm acme",
    "scrub": "patients --yes",
    "local disable": "acme",
    "local enable": "acme",
    "rekey pause": "5f0c",
    "rekey resume": "5f0c",
    "audit export": "--tenant acme",
    "audit adopt": "--reason why",
    "onboard": "acme --kek local:acme",
}
KEYED = sorted(COMMANDS.keys() - ALONE)
# They look at something else than the database, or report what they found.
WITHOUT_DATABASE = {
    "local disable": {ExitCode.DONE},
    "local enable": {ExitCode.DONE},
    "doctor": {ExitCode.FOUND},
    # This keyring has no certificate key.
    "certificate public-key": {ExitCode.CONFIGURATION},
    "offboard": {ExitCode.CONFIGURATION},
    "onboard": {ExitCode.DONE, ExitCode.FOUND, ExitCode.UNAVAILABLE},
}


def words(name: str) -> list[str]:
    return [*name.split(), *ARGUMENTS.get(name, "").split()]


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_does_not_exist(name: str) -> None:
    result = CliRunner().invoke(cmk, [*words(name), "--nonsense"])
    assert result.exit_code == ExitCode.USAGE and "--nonsense" in result.stderr


@pytest.mark.parametrize("name", KEYED)
def test_a_keyring_that_is_not_named_or_not_there(name: str) -> None:
    assert CliRunner().invoke(cmk, words(name), env={"CMK_KEYRING": ""}).exit_code == ExitCode.USAGE
    result = CliRunner().invoke(cmk, ["--keyring", "nowhere:keyring", *words(name)])
    assert result.exit_code == ExitCode.CONFIGURATION and "no module 'nowhere'" in result.stderr


def test_a_database_that_cannot_be_reached(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINIC_URL", "sqlite:////nowhere/at/all.sqlite")
    ends = {name: app.run(*words(name)) for name in KEYED}
    unlike = {
        name: result.output
        for name, result in ends.items()
        if result.exit_code not in WITHOUT_DATABASE.get(name, {ExitCode.UNAVAILABLE})
    }
    assert unlike == {}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("assign initech local:pmk", ExitCode.USAGE),
        ("drop-wrapping acme local:acme", ExitCode.USAGE),
        ("rotate-dek acme --purpose deterministic", ExitCode.USAGE),
        ("scrub patients", ExitCode.USAGE),
        ("shred acme", ExitCode.CONFIGURATION),
    ],
)
def test_a_question_that_is_not_answered(app: Application, line: str, code: ExitCode) -> None:
    before = app.raw("SELECT tenant, state, kek_uri FROM cmk_tenants ORDER BY tenant")
    assert app.run(*line.split(), typed="\n").exit_code == code
    assert app.raw("SELECT tenant, state, kek_uri FROM cmk_tenants ORDER BY tenant") == before


ASK_THE_KEK = ("rotate-dek acme", "assign acme local:pmk", "add-wrapping acme local:pmk")


def test_a_kek_that_refuses_or_is_out_of_reach(app: Application) -> None:
    app.provider.disable("local:acme")
    for line in ASK_THE_KEK:
        assert app.run(*line.split()).exit_code == ExitCode.REVOKED, line
    assert app.run("rewrap").exit_code == ExitCode.FOUND
    assert app.run("rekey", "run", "--tenant", "acme").exit_code == ExitCode.REVOKED
    (app.folder / "keys.json").unlink()
    for line in (*ASK_THE_KEK, "rekey run --tenant acme"):
        assert app.run(*line.split()).exit_code == ExitCode.UNAVAILABLE, line
