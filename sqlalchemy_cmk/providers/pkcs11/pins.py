"""Sources of a token's PIN: never the database, a URI or the source code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, CredentialError
from sqlalchemy_cmk.providers._files import read_private
from sqlalchemy_cmk.runtime.secret import Secret

Pin = str | Callable[[str], str]

FORMS = '"env:NAME", "file:PATH" or a callable that takes the token\'s label'


class PinSource:
    """Reads the PIN for each login, and keeps no copy.

    Args:
        pin: ``"env:NAME"``, ``"file:PATH"``, or a callable that takes the token's label.

    Raises:
        ConfigurationError: it is something else, such as the PIN itself, which the message does not show.
    """

    def __init__(self, pin: Pin) -> None:
        if not callable(pin) and not (
            isinstance(pin, str) and pin.startswith(("env:", "file:")) and pin.partition(":")[2]
        ):
            raise ConfigurationError(f"do not give Pkcs11KeyProvider the PIN itself: give {FORMS}")
        self._pin = pin

    def __repr__(self) -> str:
        return "a callable" if callable(self._pin) else repr(self._pin)

    def read(self, token_label: str) -> Secret:
        """Return the PIN of a token, as UTF-8.

        Raises:
            CredentialError: there is no PIN now.
            ConfigurationError: others have access to the file.
        """
        if callable(self._pin):
            pin = self._ask(self._pin, token_label)
        else:
            kind, _, name = self._pin.partition(":")
            pin = _secret(os.environ.get(name)) if kind == "env" else _read_file(Path(name))
        if not pin:
            raise CredentialError(f"there is no PIN for the token {token_label!r} in {self!r}")
        return pin

    def _ask(self, source: Callable[[str], str], token_label: str) -> Secret:
        try:
            return _secret(source(token_label))
        except CmkError:
            raise
        except Exception as error:
            failed = type(error).__name__
        # Raised outside the except block: the error's message may hold the PIN, and its frames too.
        raise CredentialError(f"the callable for the PIN of the token {token_label!r} failed: {failed}")


def _secret(pin: object) -> Secret:
    try:
        return Secret(pin.encode() if isinstance(pin, str) else b"")
    except UnicodeEncodeError:
        return Secret(b"")


def _read_file(path: Path) -> Secret:
    content = read_private(path, "the PIN file", "change the PIN") or Secret(b"")
    return Secret(content.reveal().decode("utf-8", "replace").rstrip("\r\n").encode())
