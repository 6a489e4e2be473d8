"""What a customer's vault can do, and a vault in a folder that stands in for one in the cloud.

The application gets a vault's ``providers`` and nothing else. Everything here that changes a key is what the
customer does, in a portal that the application has no access to.
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy_cmk import CmkError, KeyRevoked
from sqlalchemy_cmk.providers import KeyProvider, LocalKeyProvider
from sqlalchemy_cmk.providers.base import Wrapped
from sqlalchemy_cmk.runtime.secret import Secret

T = TypeVar("T")

# Lines of the log that a page shows.
SHOWN = 60


@dataclass(frozen=True)
class Request:
    """A line of a vault's log: somebody asked for the key.

    Attributes:
        at: when, in seconds since 1970.
        operation: ``wrap``, ``unwrap``, or what the owner did.
        who: who asked.
        answer: ``ok``, or why not.
    """

    at: float
    operation: str
    who: str
    answer: str


class Vault(ABC):
    """A customer's vault with one key.

    Attributes:
        title: whose it is.
        kind: what it is, in words.
        kek_uri: the URI of its key.
        second_region: that of a key in a second region; empty if there is none.
        former: URIs by which the application knew its key before.
        providers: what the application uses it by.
        state: ``enabled``, ``disabled`` or ``deleted``.
    """

    title: str
    kind: str
    kek_uri: str
    second_region: str
    former: Sequence[str] = ()
    providers: Sequence[KeyProvider]

    @property
    def allowed(self) -> Sequence[str]:
        """The URIs of all its keys."""
        return [one for one in (self.kek_uri, self.second_region, *self.former) if one]

    @property
    @abstractmethod
    def state(self) -> str: ...

    @abstractmethod
    def versions(self) -> list[str]:
        """Return the ids of the key's versions, the oldest first."""

    @abstractmethod
    def change(self, action: str) -> None:
        """Do one of :attr:`actions`."""

    @property
    @abstractmethod
    def actions(self) -> Sequence[str]:
        """What the owner can do now."""

    @abstractmethod
    def log(self) -> list[Request]:
        """Return the newest requests, the newest first."""


class FileVault(Vault):
    """A vault in a folder: a key file, a log, and a mark where the key was deleted."""

    kind = "emulated vault"

    def __init__(self, folder: Path, name: str, title: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.title = title
        self.kek_uri = f"local:{name}-vault/clinic-kek"
        self.second_region = f"local:{name}-vault-west/clinic-kek"
        self._log = folder / f"{name}.log"
        self._deleted = folder / f"{name}.deleted"
        self._file = folder / f"{name}.json"
        self._keys = LocalKeyProvider(self._file)
        for kek_uri in self.allowed:
            self._keys.ensure(kek_uri)
        self.providers = (_Logged(self._keys, self),)

    @property
    def state(self) -> str:
        if self.is_deleted:
            return "deleted"
        return "enabled" if self._key()["enabled"] else "disabled"

    @property
    def is_deleted(self) -> bool:
        return self._deleted.exists()

    @property
    def actions(self) -> Sequence[str]:
        choices = {"enabled": ("disable", "rotate", "delete"), "disabled": ("enable", "delete")}
        return choices.get(self.state, ("recover",))

    def versions(self) -> list[str]:
        return [one["id"] for one in self._key()["versions"]]

    def change(self, action: str) -> None:
        if action not in self.actions:
            return
        if action == "delete":
            self._deleted.touch(mode=0o600)
        elif action == "recover":
            self._deleted.unlink(missing_ok=True)
        else:
            keys = self._keys
            change = {"disable": keys.disable, "enable": keys.enable, "rotate": keys.rotate}[action]
            for kek_uri in self.allowed:
                change(kek_uri)
        self.note(action, "the customer", "ok")

    def note(self, operation: str, who: str, answer: str) -> None:
        line = json.dumps(asdict(Request(time.time(), operation, who, answer)))
        handle = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a") as file:
            file.write(f"{line}\n")

    def log(self) -> list[Request]:
        if not self._log.exists():
            return []
        lines = self._log.read_text().splitlines()[-SHOWN:]
        return [Request(**json.loads(line)) for line in reversed(lines)]

    def _key(self) -> dict[str, Any]:
        keks: dict[str, Any] = json.loads(self._file.read_text())["keks"]
        return keks[self.kek_uri.removeprefix("local:")]  # type: ignore[no-any-return]


class _Logged(KeyProvider):
    """A vault as the application reaches it: each request is in the vault's log."""

    def __init__(self, keys: LocalKeyProvider, vault: FileVault) -> None:
        self._keys = keys
        self._vault = vault

    def handles(self, kek_uri: str) -> bool:
        return kek_uri in self._vault.allowed

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        return self._ask("wrap", lambda: self._keys.wrap(kek_uri, dek))

    def unwrap(self, wrapped: Wrapped) -> Secret:
        return self._ask("unwrap", lambda: self._keys.unwrap(wrapped))

    def newest_version(self, kek_uri: str) -> str:
        return self._ask("get", lambda: self._keys.newest_version(kek_uri))

    def _ask(self, operation: str, work: Callable[[], T]) -> T:
        try:
            if self._vault.is_deleted:
                raise KeyRevoked(f"{self._vault.kek_uri} was deleted by its owner")
            answer = work()
        except CmkError as error:
            self._vault.note(operation, "the clinic application", type(error).__name__)
            raise
        self._vault.note(operation, "the clinic application", "ok")
        return answer
