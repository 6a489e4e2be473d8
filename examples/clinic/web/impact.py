"""What stops when a clinic's key is switched off, for those who think of it."""

from __future__ import annotations

from flask import Blueprint, render_template

from examples.clinic.web.current import signed_in, storage
from examples.clinic.web.officers import allowed
from sqlalchemy_cmk.impact import impact_of

pages = Blueprint("impact", __name__, url_prefix="/keys")


@pages.get("/<tenant>/impact")
@signed_in
def show(tenant: str) -> str:
    allowed(tenant)
    return render_template("keys/impact.html", tenant=tenant, impact=impact_of(storage().keyring, tenant))
