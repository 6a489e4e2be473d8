"""A vault with KEKs that several processes call, and what it knows: which DEKs it has wrapped and proven."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, TypeVar

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from sqlalchemy_cmk import KeyRevoked, TamperedError
from sqlalchemy_cmk.providers import KeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret

if TYPE_CHECKING:
    from tests.simulation.process import Process

T = TypeVar("T")

SCHEME = "sim:"
ALGORITHM = "A256KW"


class Kek:
    """A KEK with its versions, oldest first."""

    def __init__(self, versions: list[bytes]) -> None:
        self.versions = versions
        self.enabled = True


class Vault:
    """The vault itself, which no process can see into.

    Attributes:
        keks: by URI.
        proven: the wrapped bytes that the vault has unwrapped for somebody.
    """

    def __init__(self, randomness: Random, names: list[str]) -> None:
        self._randomness = randomness
        self.keks = {f"{SCHEME}{name}": Kek([randomness.randbytes(32)]) for name in names}
        self.proven: set[bytes] = set()

    def rotate(self, uri: str) -> None:
        self.keks[uri].versions.append(self._randomness.randbytes(32))

    def gives(self, uri: str) -> bool:
        """Whether the KEK's owner gives access."""
        return self.keks[uri].enabled

    def wrap(self, uri: str, dek: bytes) -> Wrapped:
        versions = self._open(uri).versions
        return Wrapped(uri, f"v{len(versions)}", ALGORITHM, aes_key_wrap(versions[-1], dek))

    def unwrap(self, wrapped: Wrapped) -> bytes:
        self._open(wrapped.kek_uri)
        dek = self.look_into(wrapped.kek_uri, wrapped.kek_version, wrapped.data)
        if dek is None:
            raise TamperedError(f"{wrapped.kek_uri} has not wrapped this")
        self.proven.add(wrapped.data)
        return dek

    def newest_version(self, uri: str) -> str:
        return f"v{len(self._open(uri).versions)}"

    def look_into(self, uri: str, version: str, data: bytes) -> bytes | None:
        """What a wrapping holds, regardless of access now; `None` where it holds nothing."""
        try:
            return aes_key_unwrap(self.keks[uri].versions[int(version[1:]) - 1], data)
        except (KeyError, IndexError, ValueError, InvalidUnwrap):
            return None

    def _open(self, uri: str) -> Kek:
        kek = self.keks.get(uri)
        if kek is None or not kek.enabled:
            raise KeyRevoked(f"{uri} is disabled")
        return kek


class VaultClient(KeyProvider):
    """How a process calls the vault: over a network that fails, stalls and, if the seed says so, lies."""

    def __init__(self, vault: Vault, process: Process) -> None:
        self._vault = vault
        self.process = process

    def handles(self, kek_uri: str) -> bool:
        return kek_uri.startswith(SCHEME)

    def wrap(self, kek_uri: str, dek: Secret) -> Wrapped:
        def answer() -> Wrapped:
            given = dek.reveal()
            if self.process.faults.lies(self.process, kek_uri):
                given = bytes(len(given))
            return self._vault.wrap(kek_uri, given)

        return self._ask("wrap", kek_uri, answer)

    def unwrap(self, wrapped: Wrapped) -> Secret:
        self.check_wrapping(wrapped)

        def answer() -> Secret:
            dek = self._vault.unwrap(wrapped)
            return Secret(bytes(32) if self.process.faults.lies(self.process, wrapped.kek_uri) else dek)

        return self._ask("unwrap", wrapped.kek_uri, answer)

    def newest_version(self, kek_uri: str) -> str:
        return self._ask("newest_version", kek_uri, lambda: self._vault.newest_version(kek_uri))

    def _ask(self, what: str, kek_uri: str, answer: Callable[[], T]) -> T:
        scheduler = self.process.scheduler
        scheduler.point(f"{what} by {kek_uri}")
        self.process.faults.on_the_way(self.process, kek_uri)
        try:
            answered = answer()
        except KeyRevoked:
            scheduler.point(f"{kek_uri} refuses")
            self.process.troubles.note_refusal(kek_uri)
            raise
        # What the vault has answered arrives later, when it may be true no more.
        scheduler.point(f"{kek_uri} has answered")
        return answered
