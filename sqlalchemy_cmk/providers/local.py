"""KEKs in one JSON file or one environment variable: for development, tests and small platforms.

The file is made at first use with mode 0600, and replaced atomically. It is refused if the group or others
have access to it, if it is neither ours nor root's, and if others may put another in its place. It may be a
link for reading, as Kubernetes mounts a secret, and never for writing. Wrapping is AES-256 key wrap
(RFC 3394), which detects a wrong KEK and damaged bytes by itself.

The file::

    {"format": 1, "keks": {"pmk": {"enabled": true, "versions": [{"id": "5f0c…", "key": "BASE64"}]}}}

The last version wraps; every version unwraps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from sqlalchemy_cmk.errors import ConfigurationError, KeyRevoked, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers._files import file_lock, read_private, write_private
from sqlalchemy_cmk.providers.base import KeyProvider, Wrapped, foreign_algorithm, foreign_version
from sqlalchemy_cmk.providers.uris import escaped, shown
from sqlalchemy_cmk.runtime.kinds import KEK_URI, takes
from sqlalchemy_cmk.runtime.secret import Secret

SCHEME = "local:"
ALGORITHM = "A256KW"
KEK_BYTES = 32
LONGEST_NAME = 200
_VERSION = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)


class KekVersion(msgspec.Struct, frozen=True):
    """One version of a KEK, 32 bytes; its ``repr`` does not show them."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"KekVersion(id={self.id!r})"

    def secret(self) -> Secret:
        """Return the KEK's 32 bytes."""
        return Secret(self.key)


class Kek(msgspec.Struct):
    """A named KEK with all its versions, oldest first."""

    versions: list[KekVersion]
    enabled: bool = True


class KeyFile(msgspec.Struct):
    """The content of the file or the environment variable."""

    format: Literal[1] = 1
    keks: dict[str, Kek] = msgspec.field(default_factory=dict)


def _parse(raw: Secret, origin: str) -> KeyFile:
    try:
        parsed = msgspec.json.decode(raw.reveal(), type=KeyFile)
        versions = [version for kek in parsed.keks.values() for version in kek.versions]
        if all(len(one.key) == KEK_BYTES and _VERSION.fullmatch(one.id) for one in versions):
            return parsed
    except (msgspec.MsgspecError, ValueError):
        pass
    # The parser's own message may quote the text, which holds keys: it is not the context of this error.
    raise ConfigurationError(f"{origin} is not a key file, or it is damaged: restore it from your backup")


class LocalKeyProvider(KeyProvider):
    """Keeps KEKs named ``local:NAME`` in a JSON file.

    Args:
        path: the key file; made at first use with mode 0600.

    Raises:
        ConfigurationError: ``path`` is not a path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ConfigurationError(
                f"LocalKeyProvider takes the path of its key file, not {type(path).__name__}"
            )
        self._path = Path(path)
        self._variable: str | None = None

    @classmethod
    def from_environment(cls, variable: str) -> LocalKeyProvider:
        """Return a read-only provider of the KEKs in an environment variable.

        Args:
            variable: the name of the variable, whose value is the JSON text of a key file. It is read at each
                use, and never logged.
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
        """Return whether the URI is ``local:NAME``."""
        name = kek_uri.removeprefix(SCHEME)
        return kek_uri.startswith(SCHEME) and 0 < len(name) <= LONGEST_NAME and name.isprintable()

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        """Wrap a DEK with the newest version of the KEK (RFC 3394)."""
        newest = self._kek(kek_uri).versions[-1]
        wrapped = Wrapped(kek_uri, newest.id, ALGORITHM, aes_key_wrap(newest.secret().reveal(), dek.reveal()))
        self.check_wrapping(wrapped)
        return wrapped

    def unwrap(self, wrapped: Wrapped) -> Secret:
        """Return the DEK.

        Raises:
            KeyRevoked: the KEK is disabled, or the file no longer holds it or its version.
            KeyUnavailable: the file cannot be read now.
            TamperedError: the wrapped bytes are damaged, or see :meth:`check_wrapping`.
        """
        self.check_wrapping(wrapped)
        for version in self._kek(wrapped.kek_uri).versions:
            if version.id == wrapped.kek_version:
                break
        else:
            raise KeyRevoked(
                f"{shown(wrapped.kek_uri)}: {self._origin} no longer holds version "
                f"{escaped(wrapped.kek_version)}; restore the file that does"
            )
        try:
            return Secret(aes_key_unwrap(version.secret().reveal(), wrapped.data))
        except (InvalidUnwrap, ValueError):
            pass
        raise TamperedError(f"a DEK wrapped by {shown(wrapped.kek_uri)} is damaged: it does not unwrap")

    def check_wrapping(self, wrapped: Wrapped) -> None:
        """Refuse an algorithm other than A256KW, and a version that no key file names.

        Raises:
            TamperedError: it is one of these.
        """
        if not _VERSION.fullmatch(wrapped.kek_version):
            raise foreign_version(wrapped)
        if wrapped.algorithm != ALGORITHM:
            raise foreign_algorithm(wrapped)

    def place_of(self, kek_uri: str) -> str:
        """Return where the KEKs are kept: they are out of reach together."""
        return self._origin

    def calls_at_once(self, kek_uri: str) -> int:
        """Return 1: a call waits for the processor only."""
        return 1

    def newest_version(self, kek_uri: str) -> str:
        """Return the id of the KEK's last version."""
        return self._kek(kek_uri).versions[-1].id

    def ensure(self, kek_uri: str, *, first: bool = True) -> None:
        """Make the KEK if it does not exist, and the file if nothing depends on one yet.

        Raises:
            ConfigurationError: the KEKs are in an environment variable, and it is not among them.
        """
        name = self._name(kek_uri)
        if not first:
            self._read()
        if self._variable is not None:
            self._existing(self._read(), kek_uri)
        elif not self._holds(name):
            self._change(lambda keys: keys.keks.setdefault(name, Kek([_new_version()])))

    @takes(kek_uri=KEK_URI)
    def has(self, kek_uri: str) -> bool:
        """Return whether there is such a KEK; :meth:`ensure` would make one that is not there.

        Raises:
            ConfigurationError: it is not the URI of a local KEK, or the key file is damaged.
            KeyUnavailable: the key file cannot be read.
        """
        name = self._name(kek_uri)
        return name in self._read().keks if self._variable is not None else self._holds(name)

    def record_key_file(self) -> Path | None:
        """Return a file beside the key file; ``None`` if the KEKs are in an environment variable."""
        return None if self._variable else self._path.with_name(f"{self._path.name}.record-key")

    @takes(kek_uri=KEK_URI)
    def rotate(self, kek_uri: str) -> None:
        """Add a version to the KEK; older versions still unwrap."""
        self._change(lambda keys: self._existing(keys, kek_uri).versions.append(_new_version()))

    @takes(kek_uri=KEK_URI)
    def disable(self, kek_uri: str) -> None:
        """Take access away: every use raises ``KeyRevoked`` until :meth:`enable` is called."""
        self._change(lambda keys: setattr(self._existing(keys, kek_uri), "enabled", False))

    @takes(kek_uri=KEK_URI)
    def enable(self, kek_uri: str) -> None:
        """Give access back."""
        self._change(lambda keys: setattr(self._existing(keys, kek_uri), "enabled", True))

    def _name(self, kek_uri: str) -> str:
        if not self.handles(kek_uri):
            raise ConfigurationError("this is not the URI of a local KEK: write local:NAME")
        return kek_uri.removeprefix(SCHEME)

    def _read(self) -> KeyFile:
        if self._variable is not None:
            if self._variable not in os.environ:
                raise KeyUnavailable(
                    f"the environment variable {self._variable} is not set: it holds the KEKs"
                )
            return _parse(Secret(os.fsencode(os.environ.get(self._variable, ""))), self._origin)
        raw = read_private(self._path)
        if raw is None:
            raise KeyUnavailable(
                f"the key file {self._path} does not exist; mount it or restore it from your backup: "
                "without it the DEKs that it wrapped cannot be opened"
            )
        return _parse(raw, self._origin)

    def _holds(self, name: str) -> bool:
        # A file that is mounted read-only cannot be locked, and need not be.
        raw = read_private(self._path)
        return raw is not None and name in _parse(raw, self._origin).keks

    def _find(self, keys: KeyFile, kek_uri: str) -> Kek | None:
        kek = keys.keks.get(self._name(kek_uri))
        return kek if kek is not None and kek.versions else None

    def _existing(self, keys: KeyFile, kek_uri: str) -> Kek:
        """Return a KEK that nothing needs yet: one that is not there never was."""
        kek = self._find(keys, kek_uri)
        if kek is None:
            raise ConfigurationError(f"there is no KEK {shown(kek_uri)} in {self._origin}: check its name")
        return kek

    def _kek(self, kek_uri: str) -> Kek:
        kek = self._find(self._read(), kek_uri)
        if kek is None:
            raise KeyRevoked(
                f"{shown(kek_uri)} is gone from {self._origin}: restore the file or variable that holds it"
            )
        if not kek.enabled:
            raise KeyRevoked(f"{shown(kek_uri)} is disabled in {self._origin}")
        return kek

    def _change(self, change: Callable[[KeyFile], object]) -> None:
        if self._variable is not None:
            raise ConfigurationError(
                f"the KEKs in {self._origin} cannot be changed here: set the variable to a new value"
            )
        with file_lock(self._path):
            raw = read_private(self._path)
            keys = KeyFile() if raw is None else _parse(raw, self._origin)
            change(keys)
            write_private(self._path, _dump(keys))


def _dump(keys: KeyFile) -> Secret:
    return Secret(msgspec.json.format(msgspec.json.encode(keys), indent=2))


def _new_version() -> KekVersion:
    # A random id: a file that is made again by mistake must not have a version of the one that was lost.
    return KekVersion(token_hex(8), token_bytes(KEK_BYTES))
