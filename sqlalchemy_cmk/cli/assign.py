"""``cmk assign``: puts tenants under a KEK."""

from __future__ import annotations

from pathlib import Path

import click

from sqlalchemy_cmk.cli.asking import ask_about
from sqlalchemy_cmk.cli.certified import ONE_TENANT, certificate_option, certified
from sqlalchemy_cmk.cli.many import exit_if_failed, exit_if_requested, progress_bar, rate_option
from sqlalchemy_cmk.cli.options import as_json, kek_argument, print_result, with_keyring
from sqlalchemy_cmk.cli.output import next_step, plural, tenant_label
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import TenantState
from sqlalchemy_cmk.providers.uris import shown
from sqlalchemy_cmk.runtime.printable import printable


@click.command()
@click.argument("tenants", nargs=-1, metavar="TENANT...")
@kek_argument
@click.option("--from-kek", metavar="URI", help="Move every tenant that is under this KEK.")
@click.option("--fresh-dek", is_flag=True, help="Also make a new active DEK, which no old backup holds.")
@click.option("--new", is_flag=True, help="Make tenants that have no keys yet, without asking.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@rate_option
@certificate_option
@as_json
@with_keyring
def assign(
    keyring: Keyring,
    tenants: tuple[str, ...],
    kek_uri: str,
    from_kek: str | None,
    fresh_dek: bool,
    new: bool,
    yes: bool,
    rate: float | None,
    certificate: Path | None,
    as_json: bool,
) -> None:
    """Wrap tenants' DEKs by a KEK.

    They are wrapped by that one only. No data row is touched. Of several tenants the others are moved where
    one's own KEK refuses or cannot be reached; it ends with exit code 1 then.

    It asks before it makes a tenant that has no keys yet, makes a local KEK, or puts a tenant under a KEK
    that serves another.

    \b
    Examples:
      cmk assign acme https://acme.vault.azure.net/keys/clinic-kek
      cmk assign initech local:initech --new
      cmk assign --from-kek local:north local:south
    """
    if bool(tenants) is (from_kek is not None):
        raise click.UsageError("Name the tenants, or the KEK that they are under with --from-kek.")
    if certificate is not None and len(tenants) != 1:
        raise click.UsageError(ONE_TENANT)
    if not yes:
        ask_about(keyring, tenants, kek_uri, new=new)
    if len(tenants) == 1:
        with certified(keyring, tenants[0], "assign", certificate) as outcome:
            _assign_one(keyring, tenants[0], kek_uri, fresh_dek, as_json)
            outcome["kek_uri"] = kek_uri
        return
    if from_kek is None:
        names, known = tenants, {line.tenant for line in keyring.status(tenants)}
    else:
        names = _under(keyring, from_kek)
        known = set(names)
    with progress_bar("assigning", len(names)) as advance:
        report = keyring.lifecycle.assign_many(
            names, kek_uri, fresh_dek=fresh_dek, rate=rate, progress=advance
        )
    made = [one for one in report.assigned if one not in known]
    result = {
        "kek_uri": kek_uri,
        "assigned": report.assigned,
        "new": made,
        "failed": report.failed,
        "requested": report.requested,
        "fresh_dek": fresh_dek,
    }
    print_result(
        as_json, result, _sentence(kek_uri, len(report.assigned), len(report.failed)), *_as_new(made)
    )
    if not report.failed:
        next_step(as_json, "status", "--kek", kek_uri)
    exit_if_failed(report.failed, as_json)
    exit_if_requested(report.requested, as_json)


def _assign_one(keyring: Keyring, tenant: str, kek_uri: str, fresh_dek: bool, as_json: bool) -> None:
    before = next((line.kek_uri for line in keyring.status([tenant])), None)
    keyring.assign(tenant, kek_uri, fresh_dek=fresh_dek)
    result = {"tenant": tenant, "kek_uri": kek_uri, "before": before, "fresh_dek": fresh_dek}
    # A mistyped name makes a new tenant: show that it is one.
    earlier = "it had no keys here until now" if before is None else f"before: {printable(before)}"
    print_result(as_json, result, f"{tenant_label(tenant)} is under {printable(kek_uri)} ({earlier})")
    next_step(as_json, *(("rekey", "run") if fresh_dek else ("status",)), "--tenant", tenant)


def _under(keyring: Keyring, kek_uri: str) -> tuple[str, ...]:
    """Return the tenants that are under a KEK and were not shredded."""
    lines = keyring.status(kek=kek_uri)
    living = (line for line in lines if line.state is not TenantState.SHREDDED)
    # A second KEK of a tenant, of another region say, is not the one that it is under.
    names = tuple(line.tenant for line in living if line.kek_uri == kek_uri)
    if not names:
        raise ConfigurationError(f"no tenant is under {shown(kek_uri)}: cmk status shows who is under which")
    return names


def _sentence(kek_uri: str, assigned: int, failed: int) -> str:
    done = f"{plural(assigned, 'tenant')} {'is' if assigned == 1 else 'are'} under {printable(kek_uri)}"
    return f"{done}, {failed} failed" if failed else done


def _as_new(names: list[str]) -> list[str]:
    # A mistyped name makes a new tenant: show that it is one.
    return [f"{tenant_label(name)} had no keys here until now" for name in names]
