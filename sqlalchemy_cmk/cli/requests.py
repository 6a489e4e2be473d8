"""``cmk requests``, ``approve`` and ``refuse``: what waits for a second person, and their answer."""

from __future__ import annotations

from typing import Any

import click

from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import iso, note, print_json, print_line, tenant_label
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.approvals.request import Request, RequestState

request_argument = click.argument("request_id", metavar="ID")


@click.command()
@click.option("--tenant", metavar="NAME", help="This tenant only; '' is the platform.")
@as_json
@with_keyring
def requests(keyring: Keyring, tenant: str | None, as_json: bool) -> None:
    """Show the requests that wait for a second person, or were approved and not used yet.

    \b
    Examples:
      cmk requests
      cmk requests --json
    """
    found = keyring.approvals.pending(tenant)
    if as_json:
        print_json({"requests": list(map(described_request, found))})
        return
    for one in found:
        for line in request_lines(one):
            print_line(line)
    if not found:
        note("No request is open.")


@click.command()
@request_argument
@click.option("--yes", is_flag=True, help="Approve it without asking.")
@as_json
@with_keyring
def approve(keyring: Keyring, request_id: str, yes: bool, as_json: bool) -> None:
    """Approve a request that somebody else has made.

    Nothing is done yet: the same command as before, given again, does it. Who you are is what the keyring's
    actor says.

    \b
    Examples:
      cmk approve 5f0c12ab77aa
    """
    if not yes:
        for line in request_lines(keyring.approvals.find(request_id)):
            note(line)
        click.confirm("Approve it?", abort=True, err=True)
    found = keyring.approvals.approve(request_id)
    done = (
        f"{found.id} is approved by {found.decided_by}: the same command does it now, until {_until(found)}"
    )
    print_result(as_json, described_request(found), done)


@click.command()
@request_argument
@click.option("--reason", metavar="TEXT", default="", help="Why, for the audit trail.")
@as_json
@with_keyring
def refuse(keyring: Keyring, request_id: str, reason: str, as_json: bool) -> None:
    """Refuse a request, also one that was approved and not used yet.

    \b
    Examples:
      cmk refuse 5f0c12ab77aa
    """
    found = keyring.approvals.refuse(request_id, reason)
    print_result(as_json, described_request(found), f"{found.id} is refused by {found.decided_by}")


def described_request(request: Request) -> dict[str, Any]:
    """Return a request as JSON holds it."""
    return {
        "id": request.id,
        "tenant": request.tenant,
        "operation": request.operation,
        "arguments": request.arguments,
        "requested_by": request.requested_by,
        "reason": request.reason,
        "requested_at": iso(request.requested_at),
        "expires_at": iso(request.expires_at),
        "state": str(request.state),
        "decided_by": request.decided_by,
        "decided_at": iso(request.decided_at),
        "decision": request.decision,
    }


def request_lines(request: Request) -> list[str]:
    """Return a request in lines for people."""
    why = f": {request.reason}" if request.reason else ""
    what = f"{request.operation} of {tenant_label(request.tenant)}"
    lines = [
        f"{request.id}  {what}, asked by {request.requested_by}{why}",
        f"          with {request.arguments}",
    ]
    if request.state is RequestState.APPROVED:
        return [
            *lines,
            f"          approved by {request.decided_by}; not done yet, and until {_until(request)}",
        ]
    return [*lines, f"          next: cmk approve {request.id}, by somebody else, until {_until(request)}"]


def _until(request: Request) -> str:
    return f"{request.expires_at:%Y-%m-%d %H:%M} UTC"
