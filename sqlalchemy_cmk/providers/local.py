"""KEKs in one JSON file or one environment variable: for development, tests and small platforms.

The file is made at first use with mode 0600, replaced atomically, and refused when group or others can
read it. Wrapping is AES-256 key wrap (RFC 3394), which detects a wrong KEK and damaged bytes by itself.

The file::

    {"format": 1, "keks": {"pmk": {"enabled": true, "versions": [{"id": "5f0c…", "key": "BASE64"}]}}}

The last version wraps; every version unwraps.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers._files import file_lock, read_private, write_private
from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped

SCHEME = "local:"
ALGORITHM = "A256KW"
KEK_BYTES = 32


class KekVersion(msgspec.Struct, frozen=True):
    """One version of a KEK; its ``repr`` does not show the key."""

    id: str
    key: str

    def __repr__(self) -> str:
        return f"KekVersion(id={self.id!r})"

    def secret(self) -> bytes:
        """Return the KEK's 32 bytes."""
        return b64decode(self.key, validate=True)


class Kek(msgspec.Struct):
    """A named KEK with all its versions, oldest first."""

    versions: list[KekVersion]
    enabled: bool = True


class KeyFile(msgspec.Struct):
    """What the file or the environment variable holds."""

    format: Literal[1] = 1
    keks: dict[str, Kek] = msgspec.field(default_factory=dict)


def _parse(raw: bytes, origin: str) -> KeyFile:
    try:
        parsed = msgspec.json.decode(raw, type=KeyFile)
        if all(len(v.secret()) == KEK_BYTES for kek in parsed.keks.values() for v in kek.versions):
            return parsed
    except (msgspec.MsgspecError, ValueError):
        pass
    # The parser's message may quote the text, which holds keys.
    raise ConfigurationError(f"{origin} is not a key file: it is damaged; restore it from your backup")


class LocalKeyProvider(KeyProvider):
    """Keeps KEKs named ``local:NAME`` in a JSON file.

    Args:
        path: the key file; made at first use with mode 0600.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._variable: str | None = None

    @classmethod
    def from_environment(cls, variable: str) -> LocalKeyProvider:
        """Return a read-only provider over an environment variable that holds the file's JSON text.

        Args:
            variable: the variable's name; it is read at each use, and its value is never logged.
        """
        provider = cls(os.devnull)
        provider._variable = variable
        return provider

    def __repr__(self) -> str:
        return f"LocalKeyProvider({self._origin!r})"

    @property
    def _origin(self) -> str:
        return f"${self._variable}" if self._variable else str(self._path)

    def handles(self, kek_uri: str) -> bool:
        """Tell whether the URI is ``local:NAME``."""
        return kek_uri.startswith(SCHEME) and len(kek_uri) > len(SCHEME)

    def wrap(self, kek_uri: str, dek: bytes) -> Wrapped:
        """Wrap a DEK with the newest version of the KEK (RFC 3394)."""
        newest = self._kek(kek_uri).versions[-1]
        return Wrapped(kek_uri, newest.id, ALGORITHM, aes_key_wrap(newest.secret(), dek))

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the DEK.

        Raises:
            KeyRevoked: the KEK is disabled, or the file no longer holds it or its version.
            KeyUnavailable: the file cannot be read now.
            TamperedError: the wrapped bytes are damaged.
        """
        for version in self._kek(wrapped.kek_uri).versions:
            if version.id == wrapped.kek_version:
                break
        else:
            raise KeyRevoked(
                f"{wrapped.kek_uri}: {self._origin} no longer holds version {wrapped.kek_version}; "
                "restore the file that does"
            )
        try:
            return aes_key_unwrap(version.secret(), wrapped.data)
        except (InvalidUnwrap, ValueError):
            raise TamperedError(
                f"a DEK wrapped by {wrapped.kek_uri} is damaged: it does not unwrap"
            ) from None

    def newest_version(self, kek_uri: str) -> str:
        """Return the id of the KEK's last version."""
        return self._kek(kek_uri).versions[-1].id

    def ensure(self, kek_uri: str, *, first: bool = True) -> None:
        """Make the KEK where it does not exist, and the file if nothing depends on one yet."""
        name = self._name(kek_uri)
        if not first:
            self._read()
        if self._variable is None:
            self._change(lambda keys: keys.keks.setdefault(name, Kek([_new_version()])))

    def rotate(self, kek_uri: str) -> None:
        """Add a version to the KEK; older ones still unwrap."""
        self._change(lambda keys: self._find(keys, kek_uri).versions.append(_new_version()))

    def disable(self, kek_uri: str) -> None:
        """Take access away: every use answers ``KeyRevoked`` until :meth:`enable`."""
        self._change(lambda keys: setattr(self._find(keys, kek_uri), "enabled", False))

    def enable(self, kek_uri: str) -> None:
        """Give access back."""
        self._change(lambda keys: setattr(self._find(keys, kek_uri), "enabled", True))

    def _name(self, kek_uri: str) -> str:
        if not self.handles(kek_uri):
            raise ConfigurationError(f"{kek_uri!r} is not a local KEK: it is written local:NAME")
        return kek_uri.removeprefix(SCHEME)

    def _read(self) -> KeyFile:
        if self._variable is not None:
            text = os.environ.get(self._variable)
            if text is None:
                raise KeyUnavailable(
                    f"the environment variable {self._variable} is not set: it holds the KEKs"
                )
            return _parse(os.fsencode(text), self._origin)
        raw = read_private(self._path)
        if raw is None:
            raise KeyUnavailable(
                f"the key file {self._path} does not exist; mount it or restore it from your backup: "
                "without it the DEKs that it wrapped cannot be opened"
            )
        return _parse(raw, self._origin)

    def _find(self, keys: KeyFile, kek_uri: str) -> Kek:
        kek = keys.keks.get(self._name(kek_uri))
        if kek is None or not kek.versions:
            raise KeyRevoked(f"{kek_uri}: there is no such KEK in {self._origin}")
        return kek

    def _kek(self, kek_uri: str) -> Kek:
        kek = self._find(self._read(), kek_uri)
        if not kek.enabled:
            raise KeyRevoked(f"{kek_uri} is disabled in {self._origin}")
        return kek

    def _change(self, change: Callable[[KeyFile], object]) -> None:
        if self._variable is not None:
            raise ConfigurationError(
                f"the KEKs in {self._origin} cannot be changed here: set the variable anew"
            )
        with file_lock(self._path):
            raw = read_private(self._path)
            keys = KeyFile() if raw is None else _parse(raw, self._origin)
            change(keys)
            write_private(self._path, msgspec.json.format(msgspec.json.encode(keys), indent=2))


def _new_version() -> KekVersion:
    # A random id: a file made anew by mistake must not claim the version of the one that was lost.
    return KekVersion(token_hex(8), b64encode(token_bytes(KEK_BYTES)).decode())
