"""Microsoft's transfer blob: a wrapped target key and the exchange key that unwraps it, as JSON."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import msgspec

from sqlalchemy_cmk.errors import TamperedError

LEAST_WRAPPED = 24
"""Bytes of the shortest key under AES key wrap with padding: 16, and 8 more (RFC 5649)."""


class _Header(msgspec.Struct):
    kid: str
    alg: Literal["dir"] = "dir"
    enc: Literal["CKM_RSA_AES_KEY_WRAP"] = "CKM_RSA_AES_KEY_WRAP"


class _Blob(msgspec.Struct):
    header: _Header
    ciphertext: str
    schema_version: Literal["1.0.0"] = "1.0.0"
    generator: str = ""


@dataclass(frozen=True, slots=True)
class TransferBlob:
    """A transfer blob. Nothing in it is secret, and nobody has signed it: anyone can make one.

    Attributes:
        kid: the identifier of the exchange key.
        ciphertext: the AES key under the exchange key, and the target key under the AES key.
        generator: what made the blob, for people.
    """

    kid: str
    ciphertext: bytes
    generator: str

    def dump(self) -> bytes:
        """Return the blob as its file holds it."""
        text = urlsafe_b64encode(self.ciphertext).rstrip(b"=").decode()
        return msgspec.json.encode(_Blob(_Header(self.kid), text, generator=self.generator))

    @classmethod
    def load(cls, raw: bytes) -> TransferBlob:
        """Read a blob's file.

        Raises:
            TamperedError: it is damaged, or no transfer blob.
        """
        try:
            blob = msgspec.json.decode(raw, type=_Blob, strict=True)
            text = blob.ciphertext
            ciphertext = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except msgspec.MsgspecError as error:
            raise TamperedError(f"this is no transfer blob: {error}") from None
        except (Base64Error, ValueError):
            raise TamperedError("the transfer blob is damaged: its ciphertext is not base64url") from None
        return cls(blob.header.kid, ciphertext, blob.generator)

    def check(self, exchange_bytes: int) -> None:
        """Refuse a ciphertext that cannot be whole.

        Args:
            exchange_bytes: how many bytes of it the exchange key has encrypted.

        Raises:
            TamperedError: it has another length than any wrapped key.
        """
        rest = len(self.ciphertext) - exchange_bytes
        if rest < LEAST_WRAPPED or rest % 8:
            raise TamperedError(
                f"the transfer blob is damaged: {len(self.ciphertext)} bytes of ciphertext are no key "
                f"wrapped for an exchange key of {exchange_bytes * 8} bits"
            )


def generator(source: str) -> str:
    """Return what a blob says of its making.

    Args:
        source: where the target key comes from.
    """
    return f"sqlalchemy-cmk {version('sqlalchemy-cmk')}; {source}"
