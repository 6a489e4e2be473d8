"""Audit trails under record keys."""

from pathlib import Path

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.keys.audit.authentication import Authentication
from sqlalchemy_cmk.keys.manifest.record_key import RecordKeys


def record_keys(folder: Path, name: str = "keys.json.record-key") -> RecordKeys:
    """The record keys of a file, by default the one beside the key file; it is made if it does not exist."""
    return RecordKeys(f"file:{folder / name}", lambda: True)


def authenticate(keyring: Keyring, keys: RecordKeys | None) -> None:
    """Have a keyring's trail authenticated by these record keys, or by none."""
    keyring.audit._authentication = Authentication(keys)
