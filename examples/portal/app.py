"""The customers' portal: what the owner of a key sees of it, and does with it.

It stands in for the portal of a cloud. The clinic application has no way into it, and no such buttons.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Flask, abort, flash, redirect, render_template, request, url_for

from examples.clinic.services.certificates import fingerprint
from examples.clinic.storage import Storage
from examples.clinic.web import guard
from examples.portal.inbox import Inbox
from examples.portal.vaults import SHOWN, Vault
from sqlalchemy_cmk import CmkError, UnverifiedWebhook
from sqlalchemy_cmk.certificates import verify


def portal(storage: Storage) -> Flask:
    """Return the portal over the vaults of a storage."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY=secrets.token_bytes(32))
    forms = guard.protect(app, cookie="portal")
    inbox = Inbox()
    app.jinja_env.filters["moment"] = _moment

    @app.get("/")
    def index() -> str:
        return render_template("vaults.html", vaults=storage.vaults)

    @app.get("/<name>")
    def show(name: str) -> str:
        vault = storage.vaults.get(name) or abort(404)
        bound = storage.keyring.revalidate_after
        lines, told = joined(storage, name, vault), inbox.events(name)
        return render_template("vault.html", name=name, vault=vault, lines=lines, told=told, bound=bound)

    @app.post("/<name>/events")
    @forms.exempt  # no browser sends it, and it is signed
    def receive(name: str) -> tuple[str, int]:
        if name not in storage.vaults:
            abort(404)
        try:
            inbox.receive(name, request.headers, request.get_data(), storage.announcements.secret(name))
        except UnverifiedWebhook:
            abort(401)
        return "", 204

    @app.post("/<name>/verify")
    def check(name: str) -> Any:
        if name not in storage.vaults or "file" not in request.files:
            abort(404)
        try:
            found = verify(request.files["file"].read(), fingerprint=fingerprint(storage)).certificate
        except CmkError as error:
            flash(str(error), "problem")
        else:
            flash(f"Intact, and issued by the clinic application: {found.operation} of {found.tenant}.")
        return redirect(url_for("show", name=name), 303)

    @app.post("/<name>/<action>")
    def change(name: str, action: str) -> Any:
        vault = storage.vaults.get(name) or abort(404)
        if action not in vault.actions:
            abort(409)
        vault.change(action)
        return redirect(url_for("show", name=name), 303)

    return app


@dataclass(frozen=True)
class Line:
    """A line of what happened to a key, as the vault or the application tells it."""

    at: float
    source: str
    what: str
    who: str
    detail: str


def joined(storage: Storage, name: str, vault: Vault) -> list[Line]:
    """Return the vault's log and the application's trail as one, the newest first."""
    asked = [Line(one.at, "vault", one.operation, one.who, one.answer) for one in vault.log()]
    trail = storage.keyring.audit.entries(name, last=SHOWN)
    told = [
        Line(datetime.fromisoformat(one.at).timestamp(), "application", one.event, one.actor, one.detail)
        for one in trail
    ]
    return sorted([*asked, *told], key=lambda line: line.at, reverse=True)[:SHOWN]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b, %H:%M:%S UTC")
