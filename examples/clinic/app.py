"""The application of the clinics' staff, and of those who look after keys."""

import os
import secrets
from pathlib import Path

from flask import Flask, current_app, render_template

from examples.clinic.clinics import OPERATIONS, TENANTS
from examples.clinic.seed import seed
from examples.clinic.services.accounts import Accounts
from examples.clinic.services.documents import ENDINGS
from examples.clinic.services.reencryption import Reencryptions
from examples.clinic.storage import Storage
from examples.clinic.web import (
    appointments,
    console,
    current,
    documents,
    guard,
    impact,
    onboarding,
    patients,
    record,
    requests,
    sign_in,
    start,
    stored,
)
from sqlalchemy_cmk import TamperedError
from sqlalchemy_cmk.flask import CMK, health


def create_app(folder: str | os.PathLike[str] | None = None) -> Flask:
    """Return the application over a data folder, filled with invented people at the first start."""
    if folder is None:
        return application(Storage.from_environment())
    return application(Storage(Path(folder), os.environ.get("CLINIC_DATABASE")))


def application(storage: Storage) -> Flask:
    """Return the application over a storage."""
    storage.prepare()
    seed(storage)
    app = Flask(__name__)
    key = _session_key(storage.folder)
    app.config.update(SECRET_KEY=key, DEMONSTRATION=True)
    app.extensions["clinic"] = storage
    app.extensions["clinic_accounts"] = Accounts(key)
    app.extensions["clinic_reencryptions"] = Reencryptions(storage)
    storage.acting = current.acting
    guard.protect(app, cookie="clinic")
    current.close(app)
    current.say_why(app)
    app.register_error_handler(TamperedError, _altered)
    CMK(app, storage.keyring, tenant=current.tenant, engine=storage.engine)
    for one in (
        start,
        sign_in,
        patients,
        appointments,
        documents,
        console,
        impact,
        onboarding,
        record,
        requests,
        stored,
    ):
        app.register_blueprint(one.pages)
    app.register_blueprint(health)
    app.jinja_env.globals.update(
        tenants=TENANTS,
        operations=OPERATIONS,
        identity=current.identity,
        key_state=current.key_state,
        endings=ENDINGS,
    )
    return app


def _altered(error: TamperedError) -> tuple[str, int]:
    """Say that stored data was altered; what and where is for the log."""
    current_app.logger.error("%s: %s", type(error).__name__, error)
    return render_template("altered.html"), 500


def _session_key(folder: Path) -> bytes:
    path = folder / "session.key"
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()
