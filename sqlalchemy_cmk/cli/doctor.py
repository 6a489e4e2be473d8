"""``cmk doctor``: runs the health checks and prints their findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import click
from rich.text import Text

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import plural, print_json, print_line
from sqlalchemy_cmk.doctor import run_checks
from sqlalchemy_cmk.findings import Finding, Level
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.runtime.printable import printable

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


@click.command()
@as_json
@with_keyring
def doctor(keyring: Keyring, as_json: bool) -> None:
    """Check the keys, and say what to do about each problem.

    The key tables, every KEK, the sealed columns and the audit trail are checked.
    Each KEK is asked to wrap and to unwrap. One stored value of each sealed column is opened; none is shown.
    Ends with exit code 1 if there is a problem; warnings do not count.

    \b
    Examples:
      cmk doctor
      cmk doctor --json
    """
    findings = run_checks(keyring)
    levels = Counter(finding.level for finding in findings)
    if as_json:
        counts = {"warnings": levels[Level.WARNING], "problems": levels[Level.PROBLEM]}
        print_json({"findings": [asdict(finding) for finding in findings], **counts})
    else:
        for finding in findings:
            _print(finding)
        counted = (plural(levels[one], one) for one in (Level.WARNING, Level.PROBLEM))
        print_line(", ".join((f"{levels[Level.OK]} ok", *counted)))
    if levels[Level.PROBLEM]:
        click.get_current_context().exit(ExitCode.FOUND)


def _print(finding: Finding) -> None:
    level = (f"{finding.level:<8}", STYLES[finding.level])
    what = finding.what.removeprefix(finding.subject).lstrip(": ")
    print_line(Text.assemble(level, (printable(finding.subject), "bold"), f" {printable(what)}"))
    if finding.remedy:
        print_line(Text(f"{'':8}{printable(finding.remedy)}", style="dim"))
