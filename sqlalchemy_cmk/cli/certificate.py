"""``cmk certificate``: makes the key that signs certificates, and verifies them without the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.text import Text

from sqlalchemy_cmk.certificates.document import Certificate, Observed
from sqlalchemy_cmk.certificates.recording import certificate_key_of
from sqlalchemy_cmk.certificates.signed import Verified, fingerprint_of, public_pem
from sqlalchemy_cmk.certificates.signed import verify as verify_certificate
from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, print_result, with_keyring
from sqlalchemy_cmk.cli.output import note, plural, print_json, print_line, tenant_label
from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.certificate_key import make_certificate_key
from sqlalchemy_cmk.runtime.printable import printable

MAX_CERTIFICATE = 100_000_000  # bytes


@click.group()
def certificate() -> None:
    """Make the key that signs certificates, and verify certificates.

    Commands that change a tenant's keys write one with --certificate FILE.
    """


@certificate.command("make-key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@as_json
def make_key(file: Path, as_json: bool) -> None:
    """Make a certificate key in a new file, readable by its owner only.

    Give it to the keyring: Keyring(certificate_key="file:FILE").

    \b
    Examples:
      cmk certificate make-key certificate.key
    """
    fingerprint = fingerprint_of(make_certificate_key(file))
    result = {"file": str(file), "fingerprint": fingerprint}
    print_result(as_json, result, f"the certificate key is in {file}", f"fingerprint {fingerprint}")


@certificate.command("public-key")
@as_json
@with_keyring
def public_key(keyring: Keyring, as_json: bool) -> None:
    """Print the public key that verifies this application's certificates, for those who are given them.

    \b
    Examples:
      cmk certificate public-key > vendor.pem
    """
    key = certificate_key_of(keyring).public()
    pem, fingerprint = public_pem(key).decode(), fingerprint_of(key)
    if as_json:
        print_json({"public_key": pem, "fingerprint": fingerprint})
        return
    click.echo(pem, nl=False)
    note(f"fingerprint {fingerprint}")


@certificate.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--key",
    type=click.File("rb"),
    metavar="PUBLIC.pem",
    help="The issuer's public key, which you have from them.",
)
@click.option("--fingerprint", metavar="HEX", help="That key's fingerprint.")
@as_json
def verify(file: BinaryIO, key: BinaryIO | None, fingerprint: str | None, as_json: bool) -> None:
    """Verify a certificate; neither a keyring nor the database is needed.

    Ends with exit code 1 if it was altered or another key has signed it, and with 7 if no key was given:
    it is intact then, and nothing says who has issued it.

    \b
    Examples:
      cmk certificate verify acme.json --key vendor.pem
    """
    pem = None if key is None else key.read(MAX_CERTIFICATE)
    try:
        verified = verify_certificate(file.read(MAX_CERTIFICATE), key=pem, fingerprint=fingerprint)
    except TamperedError as error:
        _print_problem(str(error), as_json)
        click.get_current_context().exit(ExitCode.FOUND)
    if as_json:
        known = {"intact": True, "issuer_known": verified.issuer_known, "fingerprint": verified.fingerprint}
        print_json({**known, "certificate": asdict(verified.certificate)})
    else:
        for line in (*_about(verified.certificate), *_issued(verified)):
            print_line(line)
    if not verified.issuer_known:
        if not as_json:
            note(
                "Anyone can sign with a key of their own: give --key or --fingerprint of the one you expect."
            )
        click.get_current_context().exit(ExitCode.UNPROVEN)


def _print_problem(problem: str, as_json: bool) -> None:
    if as_json:
        print_json({"intact": False, "problem": problem})
    else:
        print_line(Text.assemble(("problem  ", "bold red"), printable(problem)))


def _issued(verified: Verified) -> Iterator[str | Text]:
    if verified.issuer_known:
        yield Text(f"intact, and issued by the key {verified.fingerprint}", style="green")
    else:
        yield Text(f"intact, and signed by the key {verified.fingerprint}", style="yellow")


def _about(one: Certificate) -> Iterator[str]:
    before, after = one.before, one.after
    yield f"{one.operation} of {tenant_label(one.tenant)}, by {one.actor}"
    if one.reason:
        yield f"because     {one.reason}"
    yield f"before      {_standing(before)}"
    yield f"after       {_standing(after)}"
    if one.destroyed:
        yield f"destroyed   {', '.join(one.destroyed)}"
    for name, value in one.result.items():
        yield f"{name:11} {value}"
    for file in one.files:
        yield f"exported    {file.name}: {plural(file.rows, 'row')}, SHA-256 {file.sha256}"
    yield f"trail       rows {before.trail_seq} to {after.trail_seq}, {len(one.trail)} of them this tenant's"
    for what in one.not_covered:
        yield f"not covered {what}"


def _standing(observed: Observed) -> str:
    counts = [(state, observed.under(state)) for state in ("active", "retired", "destroyed")]
    under = ", ".join(f"{plural(count, 'value')} under {state} DEKs" for state, count in counts if count)
    unsealed: list[Any] = (
        [plural(observed.not_sealed, "value") + " not sealed"] if observed.not_sealed else []
    )
    parts = [observed.at, observed.keys.state, plural(observed.rows, "row"), under, *unsealed]
    return ", ".join(part for part in parts if part)
