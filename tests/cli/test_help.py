"""What `cmk` says before and after it works: examples, the next step, and how to go on after Ctrl-C."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sqlalchemy_cmk.cli.app import cmk
from tests.cli.conftest import Application


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(cmk))


def examples(command: click.Command) -> list[str]:
    text = (command.help or "").partition("Examples:\n")[2].replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_has_examples_that_the_command_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = examples(COMMANDS[name])
    assert any(line.startswith(f"cmk {name}") for line in shown), name
    for line in shown:
        words = shlex.split(line.partition(" > ")[0])
        for file in (word for word in words if word.endswith((".json", ".jsonl", ".pem", ".byok"))):
            if "make" not in words:
                Path(file).touch()
        called = next(one for one in COMMANDS if words[1 : 1 + len(one.split())] == one.split())
        COMMANDS[called].make_context(called, words[1 + len(called.split()) :])
    printed = CliRunner().invoke(cmk, [*name.split(), "--help"], env={"COLUMNS": "80"}).output
    assert max(map(len, printed.splitlines())) <= 80


CHANGES = {
    "assign acme local:other --yes": "cmk status --tenant acme",
    "assign acme local:other --yes --fresh-dek": "cmk rekey run --tenant acme",
    "rewrap": "cmk status --newest",
    "rotate-dek acme": "cmk rekey run --tenant acme",
    "add-wrapping acme local:other": "cmk status --tenant acme",
    "rekey run --tenant acme": "cmk rekey verify --tenant acme",
    "rekey verify": "cmk drop-retired",
    "lock acme": "cmk unlock acme",
    "shred globex --confirm globex": "cmk audit show --tenant globex",
    "local disable acme": "cmk local enable acme",
}


@pytest.mark.parametrize("command", CHANGES)
def test_a_change_names_the_next_step_to_people_alone(app: Application, command: str) -> None:
    told = app.run(*command.split(), "--json")
    assert told.exit_code == 0 and "next:" not in told.output
    if command.startswith("local"):
        app.provider.enable("local:acme")
    result = app.run(*command.split())
    assert result.exit_code == 0 and f"next: {CHANGES[command]}" in result.stderr.splitlines()
    following = CHANGES[command].split()[1:]
    assert app.run(*following).exit_code in (0, 1)


@pytest.mark.parametrize(
    ("command", "hint"),
    [("rewrap", "goes on"), ("assign acme local:pmk", "stays moved"), ("doctor", "status")],
)
def test_a_command_that_was_stopped_says_how_to_go_on(app: Application, command: str, hint: str) -> None:
    (app.folder / "stopping.py").write_text("def keyring():\n    raise KeyboardInterrupt\n")
    result = app.run(*command.split(), place="stopping:keyring")
    assert result.exit_code == 130 and hint in result.stderr


def test_a_local_kek_is_switched_off_and_on(app: Application) -> None:
    assert app.json("local", "disable", "acme") == {"kek_uri": "local:acme", "enabled": False}
    assert app.status("acme")["state"] == "revoked"
    assert app.run("local", "enable", "local:acme").exit_code == 0
    assert app.status("acme")["state"] == "ok"
    result = app.run("local", "disable", "nope")
    assert result.exit_code == 5 and "there is no KEK local:nope" in result.stderr


def test_a_table_is_scrubbed_after_a_question(app: Application) -> None:
    result = app.run("scrub", "patients", typed="n\n")
    assert result.exit_code == 2 and "Lock patients and write it again?" in result.stderr
    result = app.run("scrub", "patients", "--yes")
    assert result.stdout == "patients was rewritten\n" and "not reached: " in result.stderr
    assert app.json("scrub", "patients", "--yes")["left"]
    result = app.run("scrub", "patient", "--yes")
    assert result.exit_code == 5 and "did you mean 'patients'?" in result.stderr
