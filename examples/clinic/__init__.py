"""A small clinic: two tenants, their patients, what the database sees. ``python -m examples.clinic``."""

from examples.clinic.app import create_app
from examples.clinic.keys import Storage
from sqlalchemy_cmk import Keyring

__all__ = ["create_app", "keyring"]


def keyring() -> Keyring:
    """Return the keyring of the data folder, for ``cmk --keyring examples.clinic:keyring``."""
    return Storage.from_environment().keyring
