"""A clinic brings its own key: what it has to do in its vault, and whether that was done."""

from __future__ import annotations

from flask import Blueprint, abort, render_template, request

from examples.clinic.web.current import signed_in, storage
from examples.clinic.web.officers import allowed, is_own

pages = Blueprint("onboarding", __name__, url_prefix="/keys")


@pages.get("/<tenant>/onboarding")
@signed_in
def show(tenant: str) -> str:
    allowed(tenant)
    vault = storage().vaults.get(tenant)
    if vault is None or not is_own(tenant):
        abort(404)
    onboarding = storage().keyring.onboarding(tenant, vault.kek_uri)
    return render_template(
        "keys/onboarding.html",
        tenant=tenant,
        kek_uri=vault.kek_uri,
        instructions=onboarding.instructions(),
        report=onboarding.check() if "check" in request.args else None,
    )
