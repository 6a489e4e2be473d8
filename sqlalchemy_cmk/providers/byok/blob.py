"""Microsoft's transfer blob: a wrapped target key and the exchange key that unwraps it, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import msgspec

from sqlalchemy_cmk.errors import TamperedError
from sqlalchemy_cmk.providers import _base64url

MIN_WRAPPED = 24
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
    """A transfer blob. Nothing in it is secret, and it is not signed: anyone can make one.

    Attributes:
        kid: the identifier of the exchange key.
        ciphertext: the AES key wrapped by the exchange key, and the target key wrapped by the AES key.
        generator: the program that made the blob.
    """

    kid: str
    ciphertext: bytes
    generator: str

    def dump(self) -> bytes:
        """Return the content of the blob's file."""
        text = _base64url.encode(self.ciphertext)
        return msgspec.json.encode(_Blob(_Header(self.kid), text, generator=self.generator))

    @classmethod
    def load(cls, raw: bytes) -> TransferBlob:
        """Parse the content of a blob's file.

        Raises:
            TamperedError: it is damaged, or not a transfer blob.
        """
        try:
            blob = msgspec.json.decode(raw, type=_Blob, strict=True)
            ciphertext = _base64url.decode(blob.ciphertext)
        except msgspec.MsgspecError as error:
            raise TamperedError(f"this is not a transfer blob: {error}") from None
        except ValueError:
            raise TamperedError("the transfer blob is damaged: its ciphertext is not base64url") from None
        return cls(blob.header.kid, ciphertext, blob.generator)

    def check(self, exchange_bytes: int) -> None:
        """Refuse a ciphertext that cannot be complete.

        Args:
            exchange_bytes: how many of its bytes the exchange key has encrypted.

        Raises:
            TamperedError: no wrapped key has this length.
        """
        rest = len(self.ciphertext) - exchange_bytes
        if rest < MIN_WRAPPED or rest % 8:
            raise TamperedError(
                f"the transfer blob is damaged: {len(self.ciphertext)} bytes of ciphertext are not a key "
                f"wrapped for an exchange key of {exchange_bytes * 8} bits"
            )


def generator(source: str) -> str:
    """Return the text that names the program that made a blob.

    Args:
        source: where the target key comes from.
    """
    return f"sqlalchemy-cmk {version('sqlalchemy-cmk')}; {source}"
