"""Record keys: they authenticate what the key tables and the audit trail hold, and are never in the database.

A *record key* is 32 random bytes. Its source holds one key, or several while they are rotated: the first
authenticates, and all verify. As text a key is base64 or 64 hexadecimal digits; keys are separated by white
space or commas.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from os import environ, urandom
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers import KeyProvider
from sqlalchemy_cmk.providers._files import file_lock, read_private, write_private
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.secret import Secret

RECORD_KEY_BYTES = 32

RecordKeySource = str | Callable[[], bytes | str | Iterable[bytes]]

_SEPARATORS = re.compile(r"[\s,]+")
_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class RecordKey:
    """One record key.

    Args:
        value: its 32 bytes.

    Attributes:
        id: 16 hexadecimal digits that name the key and say nothing about it.
    """

    def __init__(self, value: Secret) -> None:
        self._value = value
        self._derived: dict[str, Secret] = {}
        self.id = self.mac("id", b"")[:8].hex()

    def __repr__(self) -> str:
        return f"<RecordKey {self.id}>"

    def mac(self, use: str, message: bytes) -> bytes:
        """Return the HMAC-SHA-256 (RFC 2104) of a message, under a key derived for one use (HKDF, RFC 5869).

        Args:
            use: what is authenticated, such as ``"manifest"``; another use gives another key.
            message: the bytes.
        """
        key = self._derived.get(use)
        if key is None:
            info = f"sqlalchemy_cmk record key: {use}".encode()
            key = Secret(HKDF(SHA256(), RECORD_KEY_BYTES, None, info).derive(self._value.reveal()))
            self._derived[use] = key
        return hmac.digest(key.reveal(), message, "sha256")

    def verifies(self, use: str, message: bytes, mac: bytes) -> bool:
        """Return whether this key made a MAC of the message for that use; takes constant time."""
        return hmac.compare_digest(self.mac(use, message), mac)


class RecordKeys:
    """The record keys of a keyring, from where they are kept.

    Args:
        source: ``"env:NAME"``, ``"file:PATH"``, or a function that returns the keys: 32 bytes, several of
            them, or their text.
        make_when: returns whether a missing file may be made: nothing is authenticated yet; ``None`` if it
            is never made.

    Raises:
        ConfigurationError: ``source`` is none of these.
    """

    def __init__(self, source: RecordKeySource, make_when: Callable[[], bool] | None = None) -> None:
        kind, _, name = source.partition(":") if isinstance(source, str) else ("", "", "")
        if not callable(source) and (kind not in ("env", "file") or not name):
            # The text is not quoted: somebody may have given the key itself.
            raise ConfigurationError(
                'record_key says where the record key is kept: give "env:NAME", "file:PATH", or a function'
            )
        self._call = source if callable(source) else None
        self._variable = name if kind == "env" else ""
        self._make_when = make_when
        self._keys: tuple[RecordKey, ...] = ()
        self.path = Path(name) if kind == "file" else None

    @property
    def origin(self) -> str:
        """Where the keys are kept, for messages."""
        if self.path is not None:
            return f"the record key file {self.path}"
        return f"${self._variable}" if self._variable else "record_key="

    def current(self) -> RecordKey:
        """Return the key that authenticates, read again: another process may have rotated it.

        Raises:
            KeyUnavailable: the source cannot be read now.
            ConfigurationError: it holds no record key.
        """
        return self.load()[0]

    def find(self, key_id: str) -> RecordKey | None:
        """Return the key of this id, or ``None``; the source is read again if the key is not known yet.

        Raises:
            KeyUnavailable, ConfigurationError: as :meth:`current`.
        """
        for known in (True, False):
            for key in self._keys if known else self.load():
                if key.id == key_id:
                    return key
        return None

    def load(self) -> tuple[RecordKey, ...]:
        """Return every key, read again; the first authenticates.

        Raises:
            KeyUnavailable, ConfigurationError: as :meth:`current`.
        """
        known = {key.id: key for key in self._keys}
        # A function may ask a service, and a file may lie on a volume that hangs.
        loaded = off_the_loop(lambda: [RecordKey(one) for one in self._read()], place="record key")
        self._keys = tuple(known.get(one.id, one) for one in loaded)
        return self._keys

    def rotate(self) -> RecordKey:
        """Put a new key before those in the file, which all still verify, and return it.

        Raises:
            ConfigurationError: the keys are not in a file, so this process cannot change them.
        """
        path = self._writable()
        with file_lock(path):
            _write(path, [Secret(urandom(RECORD_KEY_BYTES)), *self._read()])
        return self.current()

    def drop_old(self) -> None:
        """Leave only the first key in the file.

        Raises:
            ConfigurationError: as :meth:`rotate`.
        """
        path = self._writable()
        with file_lock(path):
            _write(path, self._read()[:1])
        self.load()

    def _writable(self) -> Path:
        if self.path is None:
            raise ConfigurationError(
                f"{self.origin} is not a file that can be changed here: put a new key before the old one "
                "there, in every process"
            )
        return self.path

    def _read(self) -> list[Secret]:
        if self._call is not None:
            return self._parsed(self._call)
        if self.path is not None:
            return self._parsed(self._file(self.path).reveal)
        if self._variable not in environ:
            raise KeyUnavailable(
                f"the environment variable {self._variable} is not set: it is the record key"
            )
        return self._parsed(lambda: environ.get(self._variable))

    def _parsed(self, source: Callable[[], object]) -> list[Secret]:
        # The source is called here, so that what it returns is in no local variable of a frame that raises.
        try:
            found = list(_secrets(source()))
        except ValueError:
            found = []
        if not found or any(len(one) != RECORD_KEY_BYTES for one in found):
            # What was given is not quoted: it is a secret, or nearly one.
            raise ConfigurationError(
                f"{self.origin} holds no record key: give {RECORD_KEY_BYTES} random bytes in base64, as "
                "openssl rand -base64 32 prints them; several, the newest first, while they are rotated"
            )
        return found

    def _file(self, path: Path) -> Secret:
        raw = _read_file(path)
        if raw is None and self._make_when is not None:
            if self._make_when():
                with file_lock(path):
                    if _read_file(path) is None:
                        _write(path, [Secret(urandom(RECORD_KEY_BYTES))])
            # If it may not be made now, another thread may have made and used it since it was looked for.
            raw = _read_file(path)
        if raw is None:
            raise KeyUnavailable(
                f"{self.origin} does not exist: mount it or restore it from your backup; without it nobody "
                "can tell whether the key tables were changed. In a new installation make one with openssl "
                "rand -base64 32, readable by its owner only"
            )
        return raw


def record_keys_of(
    source: RecordKeySource | None,
    providers: Iterable[KeyProvider],
    nothing_authenticated: Callable[[], bool],
) -> RecordKeys | None:
    """Return the record keys of a keyring.

    Args:
        source: what the application has given; ``None`` for a file that a provider keeps.
        providers: the key providers; the first that has a place for a record key keeps it.
        nothing_authenticated: returns whether a record key may be made.
    """
    if source is not None:
        return RecordKeys(source)
    for provider in providers:
        path = provider.record_key_file()
        if path is not None:
            return RecordKeys(f"file:{path}", nothing_authenticated)
    return None


def _read_file(path: Path) -> Secret | None:
    return read_private(path, "the record key file", "rotate it with cmk record-key rotate")


def _write(path: Path, keys: Iterable[Secret]) -> None:
    write_private(path, Secret(b"".join(b64encode(one.reveal()) + b"\n" for one in keys)))


def _secrets(given: object) -> Iterable[Secret]:
    if isinstance(given, bytes | bytearray) and len(given) == RECORD_KEY_BYTES:
        yield Secret(bytes(given))
    elif isinstance(given, str | bytes | bytearray):
        text = given if isinstance(given, str) else given.decode("ascii")
        for word in filter(None, _SEPARATORS.split(text)):
            yield Secret(bytes.fromhex(word) if _HEX.fullmatch(word) else b64decode(word, validate=True))
    elif isinstance(given, Iterable):
        for one in given:
            yield from _secrets(one)
    else:
        raise ValueError("no record key")
