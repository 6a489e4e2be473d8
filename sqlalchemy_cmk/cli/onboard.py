"""``cmk onboard``: what a customer has to do to bring a KEK, and whether they have done it."""

from __future__ import annotations

import shlex
from dataclasses import asdict

import click
from rich.text import Text

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, tenant_argument, with_keyring
from sqlalchemy_cmk.cli.output import print_json, print_line
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.onboarding import Onboarding
from sqlalchemy_cmk.providers.onboarding import OnboardingFormat, OnboardingStep, StepState
from sqlalchemy_cmk.runtime.printable import printable

STYLES = {
    StepState.OK: "green",
    StepState.WARNING: "yellow",
    StepState.FAILED: "bold red",
    StepState.NOT_REACHED: "dim",
}
WIDTH = 13


@click.command()
@tenant_argument
@click.option("--kek", "kek_uri", metavar="URI", required=True, help="The KEK; it need not exist yet.")
@click.option(
    "--format",
    "format_",
    type=click.Choice([one.value for one in OnboardingFormat]),
    default=OnboardingFormat.TEXT.value,
    help="How the instructions are written. Default: text, to read.",
)
@click.option(
    "--application",
    metavar="ID",
    envvar="CMK_APPLICATION",
    help="The application's client id in Azure, or the ARN of its role in AWS. Default: $CMK_APPLICATION.",
)
@click.option("--other-directory", is_flag=True, help="The customer's directory is another than ours.")
@click.option("--check", is_flag=True, help="Look whether it was done.")
@as_json
@with_keyring
def onboard(
    keyring: Keyring,
    tenant: str,
    kek_uri: str,
    format_: str,
    application: str | None,
    other_directory: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Print what a customer has to do to bring a KEK, ready to paste.

    With --check, look whether it was done, step by step; what is wrong comes with what to do about it, and
    ends with exit code 1. Warnings do not count. Nothing is changed either way: cmk assign puts the tenant
    under the KEK.

    \b
    Examples:
      cmk onboard acme --kek https://acme.vault.azure.net/keys/clinic-kek
      cmk onboard acme --kek https://... --format terraform > acme.tf
      cmk onboard acme --kek https://... --check
    """
    onboarding = keyring.onboarding(tenant, kek_uri, application=application, other_directory=other_directory)
    if check:
        _check(onboarding, as_json)
        return
    instructions = onboarding.instructions(format_)
    if as_json:
        print_json({"tenant": tenant, "kek_uri": kek_uri, "format": format_, "instructions": instructions})
    else:
        click.echo(instructions, nl=False)


def _check(onboarding: Onboarding, as_json: bool) -> None:
    report = onboarding.check()
    if as_json:
        steps = [{**asdict(one), "problem": one.problem and one.problem.name.lower()} for one in report.steps]
        print_json(
            {"tenant": onboarding.tenant, "kek_uri": onboarding.kek_uri, "ok": report.ok, "steps": steps}
        )
    else:
        for step in report.steps:
            _print(step)
        assign = shlex.join(["cmk", "assign", onboarding.tenant, onboarding.kek_uri])
        print_line(f"next: {assign}" if report.ok else "something is left to do, then check again")
    if not report.ok:
        click.get_current_context().exit(ExitCode.FOUND)


def _print(step: OnboardingStep) -> None:
    seen = f": {printable(step.seen)}" if step.seen else ""
    print_line(Text.assemble((f"{step.state:<{WIDTH}}", STYLES[step.state]), step.name, seen))
    if step.do:
        print_line(Text(f"{'':{WIDTH}}{printable(step.do)}", style="dim"))
