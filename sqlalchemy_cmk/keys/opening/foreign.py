"""Calls a provider that anyone may have written: its mistakes become this library's own errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers.base import KeyProvider

T = TypeVar("T")


def guarded(provider: KeyProvider, call: Callable[[], T]) -> T:
    """Return what a provider returns; an error that is none of this library's own means that it cannot serve.

    Args:
        provider: whose call it is.
        call: makes it.

    Raises:
        KeyUnavailable: the provider failed with an error of another kind. It names the provider, the error's
            class and its place, and nothing that the error says: that may be a key.
    """
    try:
        return call()
    except CmkError:
        raise
    except Exception as error:
        failure = f"{type(error).__name__}{_place(provider, error.__traceback__)}"
    # Raised here, where no context of it holds the provider's frames: a DEK may be in the clear there.
    raise KeyUnavailable(
        f"{_name(provider)} failed with {failure}: it has to raise KeyRevoked, KeyUnavailable or another "
        "error of sqlalchemy_cmk"
    )


def require_kind(provider: KeyProvider, method: str, answer: object, kind: type) -> None:
    """Refuse an answer of another type than a provider's method has.

    Raises:
        ConfigurationError: it is of another type.
    """
    if not isinstance(answer, kind):
        raise ConfigurationError(
            f"{_name(provider)}.{method}() returned {type(answer).__name__}: return "
            f"sqlalchemy_cmk.providers.{kind.__name__}(...)"
        )


def _name(provider: KeyProvider) -> str:
    return type(provider).__name__


def _place(provider: KeyProvider, traceback: TracebackType | None) -> str:
    """Return where an error was raised, in the provider's own module if it went through that."""
    found, own = traceback, False
    while traceback is not None:
        is_own = traceback.tb_frame.f_globals.get("__name__") == type(provider).__module__
        if is_own or not own:
            found, own = traceback, is_own
        traceback = traceback.tb_next
    if found is None:
        return ""
    return f" ({Path(found.tb_frame.f_code.co_filename).name}, line {found.tb_lineno})"
