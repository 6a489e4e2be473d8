"""Where people arrive."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, redirect, render_template, url_for

from examples.clinic.clinics import OPERATIONS
from examples.clinic.web.current import identity, storage

pages = Blueprint("start", __name__)


@pages.get("/")
def home() -> Any:
    who = identity()
    if who is None:
        return redirect(url_for("sign_in.form"), 303)
    return redirect(url_for("console.index" if who.clinic == OPERATIONS else "patients.index"), 303)


@pages.get("/guide")
def guide() -> str:
    """Lead through the story of one clinic's key."""
    portal, bound = current_app.config.get("PORTAL"), storage().keyring.revalidate_after
    return render_template("guide.html", portal=portal, bound=bound)
