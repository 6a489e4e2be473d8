"""The customers' portal: what the owner of a key sees of it, and does with it.

It stands in for the portal of a cloud. The clinic application has no way into it, and no such buttons.
"""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Any

from flask import Flask, abort, redirect, render_template, url_for

from examples.clinic.storage import Storage
from examples.clinic.web import guard


def portal(storage: Storage) -> Flask:
    """Return the portal over the vaults of a storage."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY=secrets.token_bytes(32))
    guard.protect(app, cookie="portal")
    app.jinja_env.filters["moment"] = _moment

    @app.get("/")
    def index() -> str:
        return render_template("vaults.html", vaults=storage.vaults)

    @app.get("/<name>")
    def show(name: str) -> str:
        vault = storage.vaults.get(name) or abort(404)
        events = storage.keyring.audit.entries(name, last=60)[::-1]
        bound = storage.keyring.revalidate_after
        return render_template(
            "vault.html", name=name, vault=vault, events=events, bound=bound, now=time.time()
        )

    @app.post("/<name>/<action>")
    def change(name: str, action: str) -> Any:
        vault = storage.vaults.get(name) or abort(404)
        if action not in vault.actions:
            abort(409)
        vault.change(action)
        return redirect(url_for("show", name=name), 303)

    return app


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b, %H:%M:%S UTC")
