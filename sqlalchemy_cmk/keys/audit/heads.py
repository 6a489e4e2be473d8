"""Heads: where the audit trail ends and how often each tenant's keys have changed, to be kept outside.

They are authenticated by an HMAC under the record key. Its holder can verify them, and could make
others: they show what the database has lost, not who of the key's holders wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated

import msgspec

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.audit.authentication import Authenticity, Checker
from sqlalchemy_cmk.keys.manifest.record_key import RecordKey

_HEADS = "audit heads"
_Number = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Heads:
    """Where the trail and every tenant's keys stood at one time.

    Attributes:
        at: the time, in ISO 8601 and UTC.
        seq: the number of the trail's last row.
        hash: that row's hash.
        epochs: by tenant, how often its keys had changed.
        key_id: the record key that authenticates this; empty without one.
        mac: its HMAC-SHA-256, in hexadecimal; empty without one.
    """

    at: str
    seq: _Number
    hash: str
    epochs: Mapping[str, _Number]
    key_id: str = ""
    mac: str = ""

    @classmethod
    def from_json(cls, text: str | bytes) -> Heads:
        """Read what :meth:`to_json` or ``cmk audit heads`` wrote.

        Raises:
            ConfigurationError: it is something else.
        """
        try:
            read = msgspec.json.decode(text, type=cls, strict=True)
            whole = _HASH.fullmatch(read.hash) and read.seq >= 0
        except (msgspec.MsgspecError, UnicodeDecodeError):
            whole = False
        if not whole:
            # What it holds is not quoted: it may be any file.
            raise ConfigurationError("these are not heads: give what cmk audit heads printed, unchanged")
        return read

    def to_json(self) -> str:
        """Return this as JSON."""
        return msgspec.json.format(msgspec.json.encode(asdict(self)), indent=2).decode()

    def authenticated(self, key: RecordKey | None) -> Heads:
        """Return this with the MAC of a record key, or unchanged without one."""
        if key is None:
            return self
        return replace(self, key_id=key.id, mac=key.mac(_HEADS, self._message()).hex())

    def authenticity(self, checker: Checker) -> Authenticity:
        """Return what the MAC says."""
        return checker.check(_HEADS, self._message(), self.key_id, self.mac)

    def _message(self) -> bytes:
        return msgspec.msgpack.encode((self.at, self.seq, self.hash, sorted(self.epochs.items())))
