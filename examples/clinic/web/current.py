"""What belongs to the current request: its database session, and who is signed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from getpass import getuser
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flask import Flask, abort, current_app, g, has_request_context, redirect, request, session, url_for
from sqlalchemy.orm import Session

from examples.clinic.clinics import OPERATIONS
from examples.clinic.services.accounts import Accounts, Identity

if TYPE_CHECKING:
    from examples.clinic.storage import Storage

P = ParamSpec("P")
R = TypeVar("R")


def storage() -> Storage:
    return current_app.extensions["clinic"]  # type: ignore[no-any-return]


def accounts() -> Accounts:
    return current_app.extensions["clinic_accounts"]  # type: ignore[no-any-return]


def db() -> Session:
    if "db" not in g:
        g.db = Session(storage().engine)
    return g.db  # type: ignore[no-any-return]


def identity() -> Identity | None:
    """Return who has sent the request, by the secret in their cookie."""
    if "who" not in g:
        secret = session.get("secret")
        g.who = accounts().who(db(), secret, time.time()) if isinstance(secret, str) else None
    return g.who  # type: ignore[no-any-return]


def key_state() -> str:
    """Return the state of the key of the person who is signed in; no key is asked."""
    who = identity()
    lines = [] if who is None else storage().keyring.status([who.clinic])
    return lines[0].state if lines else "ok"


def acting() -> str:
    """Return who acts, for the audit trail."""
    if not has_request_context():
        return getuser()
    who = g.get("who")
    return "nobody yet" if who is None else f"staff {who.staff_id} of {who.clinic}"


def say_why(app: Flask) -> None:
    """Note the page that is asked for as the reason of what keys are used for."""

    @app.before_request
    def enter() -> None:
        if request.endpoint not in (None, "static"):
            g.why = ExitStack()
            g.why.enter_context(storage().keyring.because(f"page {request.endpoint}"))

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        if (entered := g.pop("why", None)) is not None:
            entered.close()


def tenant() -> str | None:
    """Return whose rows the request is about: those of the person who is signed in."""
    who = None if request.endpoint in (None, "static") else identity()
    return None if who is None else who.clinic


def clinic() -> str:
    """Return the clinic of the person who is signed in; those who run the platform have no patients."""
    who = identity()
    if who is None or who.clinic == OPERATIONS:
        abort(404)
    return who.clinic


def signed_in(view: Callable[P, R]) -> Callable[P, R]:
    """Let a view be seen by those who are signed in; others go to the sign-in page."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        if identity() is None:
            if request.method != "GET":
                abort(403)
            return redirect(url_for("sign_in.form"), 303)
        return view(*args, **kwargs)

    return guarded


def close(app: Flask) -> None:
    """End the database session of each request with it."""

    @app.teardown_appcontext
    def end(_: BaseException | None) -> None:
        if (opened := g.pop("db", None)) is not None:
            opened.close()
