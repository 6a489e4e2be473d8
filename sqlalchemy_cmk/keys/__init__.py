"""DEKs and KEKs: the key tables, the opened keys, the keyring and what it does over a key's life."""

from sqlalchemy_cmk.keys.keyring import Keyring

__all__ = ["Keyring"]
