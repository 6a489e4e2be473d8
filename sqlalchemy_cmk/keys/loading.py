"""Loads the application's keyring from ``MODULE:ATTRIBUTE``, as Flask and gunicorn load an application."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from contextlib import redirect_stdout
from functools import reduce
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from sqlalchemy_cmk.errors import CmkError, ConfigurationError
from sqlalchemy_cmk.keys.keyring import Keyring
from sqlalchemy_cmk.runtime.kinds import takes, text

# The error of a module that cannot be imported may quote its settings: "could not parse postgresql://app:PASSWORD@db".
_CREDENTIALS = re.compile(r"://\S*@")
_SETTING = re.compile(r"(?i)(\w*(?:password|passwd|pwd|secret|token|key)\w*['\"]?\s*[=:]\s*)\S+")


@takes(keyring_path=text("a text, MODULE:ATTRIBUTE"))
def load_keyring(keyring_path: str) -> Keyring:
    """Return the keyring at ``MODULE:ATTRIBUTE``.

    What the module prints while it is imported goes to stderr: stdout is for results.

    Args:
        keyring_path: the module and an attribute of it, which may be dotted: the keyring, or a function
            without arguments that returns it.

    Raises:
        ConfigurationError: no keyring can be loaded; the message says why.
    """
    module_name, _, attribute = keyring_path.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    with redirect_stdout(sys.stderr):
        found = _attribute(_module(module_name), attribute, keyring_path)
        if not isinstance(found, Keyring) and callable(found):
            found = _called(found, keyring_path)
    if not isinstance(found, Keyring):
        raise ConfigurationError(
            f"{keyring_path} is of type {type(found).__name__}: name a Keyring, or a function that returns it"
        )
    return found


def _module(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module {error.name!r} in {Path.cwd()} or on sys.path"
            ) from None
        _explain(f"the module {name!r} cannot be imported", error)
    except (Exception, SystemExit) as error:
        _explain(f"the module {name!r} cannot be imported", error)


def _attribute(module: ModuleType, attribute: str, keyring_path: str) -> Any:
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError:
        raise ConfigurationError(
            f"{keyring_path}: the module {module.__name__!r} has no attribute {attribute!r}"
        ) from None


def _called(factory: Any, keyring_path: str) -> Any:
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ConfigurationError(f"{keyring_path} has to be callable without arguments: {error}") from None
    try:
        return factory()
    except (Exception, SystemExit) as error:
        _explain(f"{keyring_path} returned no keyring", error)


def _explain(what: str, error: BaseException) -> NoReturn:
    """Raise an error that names the file and line, without the traceback and without secrets it may quote."""
    if isinstance(error, CmkError):
        raise error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    # The first line only: SQLAlchemy writes a statement and its parameters below it.
    message = _SETTING.sub(r"\1...", _CREDENTIALS.sub("://...@", str(error).partition("\n")[0]))
    raise ConfigurationError(
        f"{what}: {type(error).__name__}: {message} ({frame.filename}, line {frame.lineno})"
    ) from None
