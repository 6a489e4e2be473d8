"""Where people arrive."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, url_for

from examples.clinic.web.current import identity

pages = Blueprint("start", __name__)


@pages.get("/")
def home() -> Any:
    who = identity()
    if who is None:
        return redirect(url_for("sign_in.form"), 303)
    return redirect(url_for("patients.index"), 303)
