"""The key check value: shows which DEK 32 unwrapped bytes are, for what purpose, and whose.

HMAC-SHA-256 (RFC 2104) of the DEK's id, its purpose and its tenant, under a key derived from the DEK with
HKDF (RFC 5869). Without the DEK nobody can make one that fits another id, purpose or tenant.
"""

from __future__ import annotations

import hmac

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sqlalchemy_cmk.format import DEK_BYTES
from sqlalchemy_cmk.runtime.secret import Secret

CHECK_VALUE_BYTES = 32

_INFO = b"sqlalchemy_cmk key check value"


def check_value(key: Secret, dek_id: bytes, purpose: str, tenant: str) -> bytes:
    """Return the check value (32 bytes) of a DEK.

    Args:
        key: the DEK in the clear.
        dek_id: its id.
        purpose: what it is for.
        tenant: whose it is.
    """
    derived = Secret(HKDF(SHA256(), DEK_BYTES, None, _INFO).derive(key.reveal()))
    return hmac.digest(derived.reveal(), msgspec.msgpack.encode((dek_id, str(purpose), tenant)), "sha256")


def is_checked(key: Secret, dek_id: bytes, purpose: str, tenant: str, stored: bytes) -> bool:
    """Return whether a stored check value is that of a DEK; takes constant time."""
    return hmac.compare_digest(check_value(key, dek_id, purpose, tenant), stored)
