"""What public functions return can be named in an annotation: it is importable from a public module."""

import inspect
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from sqlalchemy_cmk import Keyring
from tests.test_site import PUBLIC

# What the library's own packages ask a keyring for; the reference shows none of them.
OWN = {"keys", "database", "store", "connections", "opened", "observations", "indexes", "record_keys"}
OWN |= {"dek", "active", "existing", "engines", "deliveries_of"}

MODULES = [import_module(f"sqlalchemy_cmk{suffix}") for suffix in PUBLIC]
FACES = {id(getattr(module, name)) for module in MODULES for name in module.__all__}


def classes(hint: Any) -> Iterator[type]:
    if isinstance(hint, type):
        yield hint
    for inner in typing.get_args(hint):
        yield from classes(inner)


def returned(function: Any) -> Iterator[type]:
    try:
        hints = typing.get_type_hints(function)
    except NameError:  # the name of an optional package, or of a module that would import this one
        return
    yield from classes(hints.get("return"))


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    for base in kind.__mro__:
        for name, member in vars(base).items():
            found = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(found) and name not in OWN:
                yield f"{kind.__name__}.{name}", found


def functions() -> Iterator[tuple[str, Any]]:
    for module in MODULES:
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found):
                yield name, found
    yield from methods(Keyring)
    for name in ("Lifecycle", "AuditTrail", "Approvals", "RecordKeyLifecycle"):
        yield from methods(getattr(import_module("sqlalchemy_cmk.keys"), name))
    yield from methods(import_module("sqlalchemy_cmk.rekey").Rekey)
    yield from methods(import_module("sqlalchemy_cmk.testing").Vault)


FUNCTIONS = dict(functions())
# What the emulator and the library call themselves.
NOT_SHOWN = {"AuditTrail.end", "Vault.meet_faults", "Vault.note", "Vault.refusal", "Vault.respond"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - NOT_SHOWN))
def test_what_is_returned_is_importable_from_a_public_module(name: str) -> None:
    ours = [one for one in returned(FUNCTIONS[name]) if one.__module__.startswith("sqlalchemy_cmk")]
    assert [f"{one.__module__}.{one.__name__}" for one in ours if id(one) not in FACES] == []
