"""The Flask application: list, add and edit patients, and look at the database and the keys."""

import os
import secrets
from pathlib import Path

from flask import Flask

from examples.clinic.database import migrate
from examples.clinic.keys import CLINICS, Storage
from examples.clinic.pages import pages
from examples.clinic.seed import seed
from sqlalchemy_cmk import CmkError


def create_app(folder: str | os.PathLike[str] | None = None) -> Flask:
    """Return the application over a data folder, filled with invented patients at the first start."""
    data = Path(folder or os.environ.get("CLINIC_DATA", ".demo"))
    storage = Storage(data)
    migrate(storage)
    storage.assign_own_keys()
    seed(storage)
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=_session_key(data), SESSION_COOKIE_SAMESITE="Lax", MAX_CONTENT_LENGTH=64 * 1024
    )
    app.extensions["clinic"] = storage
    app.register_blueprint(pages)
    app.register_error_handler(CmkError, _key_error)
    app.jinja_env.globals.update(clinics=CLINICS)
    return app


def _session_key(folder: Path) -> bytes:
    path = folder / "session.key"
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()


def _key_error(error: Exception) -> tuple[str, int]:
    return f"The clinic's data cannot be used now: {type(error).__name__}.", 503
