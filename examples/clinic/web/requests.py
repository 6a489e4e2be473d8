"""Requests for what cannot be undone: another person than the one who asks has to approve it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, flash, redirect, url_for

from examples.clinic.web.current import signed_in, storage
from examples.clinic.web.officers import allowed
from sqlalchemy_cmk import CmkError

pages = Blueprint("requests", __name__, url_prefix="/keys")


@pages.post("/<tenant>/requests/<number>/<any(approve, refuse):answer>")
@signed_in
def decide(tenant: str, number: str, answer: str) -> Any:
    allowed(tenant)
    approvals = storage().keyring.approvals
    if number not in {one.id for one in approvals.pending(tenant)}:
        abort(404)
    try:
        if answer == "approve":
            approvals.approve(number)
            flash("Approved. Who has asked for it can do it now.")
        else:
            approvals.refuse(number)
            flash("Refused.")
    except CmkError as error:
        flash(f"{type(error).__name__}: {error}", "problem")
    return redirect(url_for("console.show", tenant=tenant), 303)
