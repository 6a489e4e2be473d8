"""The key console: of those who run the platform, and of each clinic's security officer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, abort, current_app, flash, redirect, render_template, request, url_for

from examples.clinic.clinics import OPERATIONS
from examples.clinic.services import keys
from examples.clinic.services.reencryption import Reencryptions
from examples.clinic.web.current import acting, identity, signed_in, storage
from examples.clinic.web.officers import allowed, is_own
from sqlalchemy_cmk import ApprovalRequired, CmkError

pages = Blueprint("console", __name__, url_prefix="/keys")

EVENTS = 40


def works() -> Reencryptions:
    return current_app.extensions["clinic_reencryptions"]  # type: ignore[no-any-return]


@pages.get("/")
@signed_in
def index() -> Any:
    who = identity()
    if who is None or not who.officer:
        abort(404)
    if who.clinic != OPERATIONS:
        return redirect(url_for("console.show", tenant=who.clinic), 303)
    verdict = storage().keyring.audit.verify()
    return render_template("keys/all.html", lines=keys.lines(storage()), verdict=verdict)


@pages.get("/<tenant>")
@signed_in
def show(tenant: str) -> str:
    allowed(tenant)
    keyring = storage().keyring
    return render_template(
        "keys/tenant.html",
        tenant=tenant,
        view=keys.view(storage(), tenant) or abort(404),
        vault=storage().vaults.get(tenant),
        events=keyring.audit.entries(tenant, last=EVENTS)[::-1],
        verdict=keyring.audit.verify(),
        work=works().state(tenant),
        requests=keyring.approvals.pending(tenant),
        me=acting(),
        mine=is_own(tenant),
        bound=keyring.revalidate_after,
        portal=current_app.config.get("PORTAL"),
    )


@pages.get("/<tenant>/state")
@signed_in
def state(tenant: str) -> dict[str, Any]:
    """Say whether a key serves, and for how long keys that are open could be used at most."""
    allowed(tenant)
    line = next(iter(storage().keyring.status([tenant])), None)
    count, seconds = keys.seconds_open(storage(), tenant)
    return {"state": keys.state_of(line), "open": count, "seconds": round(seconds, 1)}


@pages.post("/<tenant>/<action>")
@signed_in
def act(tenant: str, action: str) -> Any:
    allowed(tenant)
    if action in keys.OWNERS and not is_own(tenant):
        abort(404)
    try:
        flash(keys.do(storage(), tenant, action, request.form.get("typed", "")))
    except KeyError:
        abort(404)
    except ApprovalRequired:
        flash("Asked for. Another person has to approve it here; then do it again.")
    except CmkError as error:
        flash(f"{type(error).__name__}: {error}", "problem")
    return redirect(url_for("console.show", tenant=tenant), 303)


@pages.post("/<tenant>/rotate_dek")
@signed_in
def rotate_dek(tenant: str) -> Any:
    """Make a new DEK, and bring the rows under it."""
    allowed(tenant)
    try:
        storage().keyring.lifecycle.rotate_dek(tenant)
        works().begin(tenant)
    except CmkError as error:
        flash(f"{type(error).__name__}: {error}", "problem")
    return redirect(url_for("console.show", tenant=tenant, _anchor="work"), 303)


@pages.post("/<tenant>/work/<any(cancel, resume):wanted>")
@signed_in
def steer(tenant: str, wanted: str) -> Any:
    allowed(tenant)
    if wanted == "cancel":
        works().cancel(tenant)
        works().wait(tenant)
    else:
        works().begin(tenant)
    return redirect(url_for("console.show", tenant=tenant, _anchor="work"), 303)


@pages.get("/<tenant>/work")
@signed_in
def work(tenant: str) -> Response:
    """Send how far a re-encryption is, whenever it has got further (server-sent events)."""
    allowed(tenant)
    running = works()

    def events() -> Iterator[str]:
        for one in running.watch(tenant):
            yield f"data: {json.dumps(asdict(one))}\n\n"

    return Response(events(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})
