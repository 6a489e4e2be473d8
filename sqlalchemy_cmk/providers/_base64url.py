"""Base64url without padding (RFC 4648, section 5), as JOSE and Key Vault write bytes."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

# The other alphabet and padding are read too: vendors' tools write them into transfer blobs.
_TEXT = re.compile(r"[A-Za-z0-9_+/-]*={0,2}", re.ASCII)


def encode(raw: bytes) -> str:
    """Return bytes as base64url without padding: a Managed HSM reads padding as one more byte."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of base64url, with or without padding.

    Raises:
        ValueError: it is not base64url.
    """
    if not _TEXT.fullmatch(text):
        raise ValueError("not base64url")
    bare = text.rstrip("=")
    return urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
