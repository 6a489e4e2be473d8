"""Signing in and out."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, session, url_for

from examples.clinic.seed import PASSWORD, shown_accounts
from examples.clinic.services.accounts import TooManyFailures
from examples.clinic.web.current import accounts, db

pages = Blueprint("sign_in", __name__)


@pages.get("/sign-in")
def form() -> str:
    return _page()


@pages.post("/sign-in")
def enter() -> Any:
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        secret = accounts().sign_in(db(), email, password, request.remote_addr or "", time.time())
    except TooManyFailures as error:
        minutes = -(-error.seconds // 60)
        page = _page(f"Too many attempts. Try again in {minutes} minutes.")
        return page, 429, {"Retry-After": str(error.seconds)}
    if secret is None:
        return _page("This address and this password do not fit."), 403
    # A new session: anyone who planted a cookie before knows neither its secret nor its form token.
    session.clear()
    session["secret"] = secret
    return redirect(url_for("start.home"), 303)


@pages.post("/sign-out")
def leave() -> Any:
    if isinstance(secret := session.get("secret"), str):
        accounts().sign_out(db(), secret)
    session.clear()
    return redirect(url_for("sign_in.form"), 303)


def _page(problem: str = "") -> str:
    known = shown_accounts() if current_app.config["DEMONSTRATION"] else []
    return render_template("sign_in.html", problem=problem, accounts=known, password=PASSWORD)
