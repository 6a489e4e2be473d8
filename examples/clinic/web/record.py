"""The record of a clinic's key: what was announced of it, and the certificates of what was done."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, render_template, send_file

from examples.clinic.services.certificates import certificate_file, certificates, fingerprint
from examples.clinic.web.current import signed_in, storage
from examples.clinic.web.officers import allowed
from sqlalchemy_cmk.keys.events.key_event import key_event

pages = Blueprint("record", __name__, url_prefix="/keys")

EVENTS = 40


@pages.get("/<tenant>/record")
@signed_in
def show(tenant: str) -> str:
    allowed(tenant)
    keyring = storage().keyring
    events = [one for one in map(key_event, keyring.audit.entries(tenant)) if one is not None]
    return render_template(
        "keys/record.html",
        tenant=tenant,
        events=events[: -EVENTS - 1 : -1],
        waiting={one.seq for one in keyring.events.waiting(tenant)},
        certificates=certificates(storage(), tenant),
        fingerprint=fingerprint(storage()),
    )


@pages.get("/<tenant>/record/<number>.json")
@signed_in
def fetch(tenant: str, number: str) -> Any:
    allowed(tenant)
    path = certificate_file(storage(), tenant, number) or abort(404)
    return send_file(path.resolve(), mimetype="application/json", as_attachment=True)
