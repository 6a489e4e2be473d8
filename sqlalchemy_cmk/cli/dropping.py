"""``cmk drop-retired``: old DEKs are destroyed, once a count has found no row under them."""

from __future__ import annotations

import click

from sqlalchemy_cmk.cli.exits import ExitCode
from sqlalchemy_cmk.cli.options import as_json, tell, with_keyring
from sqlalchemy_cmk.cli.output import note, plural
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey.dropping import drop_retired as drop


@click.command("drop-retired")
@click.argument("tenant", required=False)
@as_json
@with_keyring
def drop_retired(keyring: Keyring, tenant: str | None, as_json: bool) -> None:
    """Destroy retired DEKs under which no row is left.

    Of one tenant, or of all. Every sealed column of the models is counted first, which reads whole tables.
    Ends with exit code 1 where a retired DEK was kept, and says why.
    """
    report = drop(keyring, tenant)
    kept = {dek_id.hex(): why for dek_id, why in report.kept.items()}
    result = {"dropped": [one.hex() for one in report.dropped], "kept": kept}
    sentence = f"{plural(len(report.dropped), 'retired DEK')} destroyed, {len(kept)} kept"
    tell(as_json, result, sentence)
    if kept:
        if not as_json:
            for dek_id, why in kept.items():
                note(f"DEK {dek_id}: {why}")
        click.get_current_context().exit(ExitCode.FOUND)
