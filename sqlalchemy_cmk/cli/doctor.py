"""``cmk doctor``: what is well and what is not, and how to mend it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import click
from rich.text import Text

from sqlalchemy_cmk.cli.columns import ColumnExamination
from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, with_keyring
from sqlalchemy_cmk.cli.output import plural, print_json, print_line, safe
from sqlalchemy_cmk.errors import CmkError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.providers import Finding, Level

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


@click.command()
@as_json
@with_keyring
def doctor(keyring: Keyring, as_json: bool) -> None:
    """Look for what is wrong, and how to mend it.

    The key tables, every KEK, the sealed columns and the audit trail are looked at.
    Each KEK is asked to wrap and to unwrap. A stored value of each sealed column is opened; none is shown.
    Ends with exit code 1 where there is a problem; a warning is none.
    """
    findings = [*keyring.examine(), *_columns(keyring)]
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


def _columns(keyring: Keyring) -> list[Finding]:
    try:
        shredded = {line.tenant for line in keyring.status() if line.state is TenantState.SHREDDED}
    except CmkError:  # the key tables' own findings tell
        return []
    return list(ColumnExamination(keyring.examination, shredded).findings())


def _print(finding: Finding) -> None:
    level = (f"{finding.level:<8}", STYLES[finding.level])
    what = finding.what.removeprefix(finding.subject).lstrip(": ")
    print_line(Text.assemble(level, (safe(finding.subject), "bold"), f" {safe(what)}"))
    if finding.mend:
        print_line(Text(f"{'':8}{safe(finding.mend)}", style="dim"))
