"""Three clinics, their staff and patients, and their keys: ``make demo``."""

from examples.clinic.app import create_app
from examples.clinic.storage import Storage
from sqlalchemy_cmk import Keyring

__all__ = ["create_app", "keyring"]


def keyring() -> Keyring:
    """Return the keyring of the data folder, for ``cmk --keyring examples.clinic:keyring``."""
    return Storage.from_environment().keyring
