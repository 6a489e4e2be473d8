"""``cmk rewrap``: wraps DEKs by the newest versions of their KEKs, after those were rotated."""

from __future__ import annotations

from pathlib import Path

import click

from sqlalchemy_cmk.cli.certified import certificate_option, certified
from sqlalchemy_cmk.cli.many import exit_if_failed, progress_bar, rate_option
from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import next_step, plural
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.lifecycle.rewrapping import RewrapReport
from sqlalchemy_cmk.keys.model import TenantState


@click.command()
@click.argument("tenant", required=False)
@rate_option
@certificate_option
@as_json
@with_keyring
def rewrap(
    keyring: Keyring, tenant: str | None, rate: float | None, certificate: Path | None, as_json: bool
) -> None:
    """Wrap DEKs by the newest KEK versions.

    Of one tenant, or of all. A run that was stopped continues where it stopped. Ends with exit code 1 if a
    tenant's KEK refuses or cannot be reached; the other tenants are rewrapped.

    \b
    Examples:
      cmk rewrap acme
      cmk rewrap --rate 50
    """
    with certified(keyring, tenant, "rewrap", certificate) as outcome:
        with progress_bar("rewrapping", 1 if tenant is not None else _living(keyring)) as advance:
            report = keyring.lifecycle.rewrap(tenant, rate=rate, progress=advance)
        outcome["rewrapped"] = report.rewrapped
    result = {"tenants": report.tenants, "rewrapped": report.rewrapped, "failed": report.failed}
    print_result(as_json, result, _sentence(report))
    if not report.failed:
        next_step(as_json, "status", "--newest")
    exit_if_failed(report.failed, as_json)


def _living(keyring: Keyring) -> int:
    states = keyring.count()
    return states.total() - states[TenantState.SHREDDED]


def _sentence(report: RewrapReport) -> str:
    done = (
        f"{plural(report.rewrapped, 'DEK')} rewrapped, "
        f"{plural(report.tenants, 'tenant')} under the newest versions"
    )
    return f"{done}, {len(report.failed)} failed" if report.failed else done
