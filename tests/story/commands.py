"""The vendor's people at a terminal: they give ``cmk`` commands, each as somebody."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from sqlalchemy_cmk.cli.app import cmk
from tests.story.setting import ACTOR, VARIABLE

KEYRING = "tests.story.vendor:keyring"


class Terminal:
    """Runs ``cmk`` with the vendor's keyring.

    Args:
        setting: the file of the vendor's configuration.
    """

    def __init__(self, setting: Path) -> None:
        self.setting = setting

    def run(self, *command: str, actor: str = "ops@vendor.example", ends: int = 0) -> str:
        """Run a command as somebody, check how it ends, and return what it printed."""
        runner = CliRunner(env={VARIABLE: str(self.setting), ACTOR: actor})
        told = runner.invoke(cmk, ["--keyring", KEYRING, *command])
        assert told.exit_code == ends, (command, told.output, told.exception)
        return told.stdout

    def json(self, *command: str, actor: str = "ops@vendor.example", ends: int = 0) -> Any:
        """Run a command with ``--json``, and return what it printed."""
        return json.loads(self.run(*command, "--json", actor=actor, ends=ends))


def elsewhere(folder: Path, *command: str, ends: int = 0) -> str:
    """Run a command on another machine: a process without keyring, database or configuration."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", os.getcwd())}
    told = subprocess.run(
        [sys.executable, "-m", "sqlalchemy_cmk.cli", *command],
        capture_output=True, text=True, check=False, timeout=300, env=environment, cwd=folder,
    )  # fmt: skip
    assert told.returncode == ends, (command, told.stdout, told.stderr)
    return told.stdout
