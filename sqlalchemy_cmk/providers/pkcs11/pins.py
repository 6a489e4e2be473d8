"""Where a token's PIN comes from: never from the database, a URI or the source code."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, CredentialError
from sqlalchemy_cmk.providers._files import read_private

Pin = str | Callable[[str], str]

FORMS = '"env:NAME", "file:PATH" or a callable that takes the token\'s label'


class PinSource:
    """Reads a PIN anew for each login, and keeps none.

    Args:
        pin: ``"env:NAME"``, ``"file:PATH"``, or a callable that takes the token's label.

    Raises:
        ConfigurationError: it is something else; a PIN itself is refused and not shown.
    """

    def __init__(self, pin: Pin) -> None:
        if not callable(pin) and not (
            isinstance(pin, str) and pin.startswith(("env:", "file:")) and pin.partition(":")[2]
        ):
            raise ConfigurationError(f"the PIN itself is not given to Pkcs11KeyProvider: give {FORMS}")
        self._pin = pin

    def __repr__(self) -> str:
        return "a callable" if callable(self._pin) else repr(self._pin)

    def read(self, token_label: str) -> str:
        """Return the PIN of a token.

        Raises:
            CredentialError: there is none now.
            ConfigurationError: the file can be read by others.
        """
        if callable(self._pin):
            pin: str | None = self._ask(self._pin, token_label)
        else:
            kind, _, place = self._pin.partition(":")
            pin = os.environ.get(place) if kind == "env" else _read_file(Path(place))
        if not isinstance(pin, str) or not pin:
            raise CredentialError(f"there is no PIN for the token {token_label!r} in {self!r}")
        return pin

    def _ask(self, give: Callable[[str], str], token_label: str) -> str:
        try:
            return give(token_label)
        except CmkError:
            raise
        except Exception as error:
            # Its message may hold the PIN.
            raise CredentialError(
                f"the callable that gives the PIN of the token {token_label!r} failed: {type(error).__name__}"
            ) from None


def _read_file(path: Path) -> str | None:
    content = read_private(path, "the PIN file", "change the PIN")
    return None if content is None else content.decode("utf-8", "replace").rstrip("\r\n")
