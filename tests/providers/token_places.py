"""Places where KEKs live in tokens, and what their owners do there."""

from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from sqlalchemy_cmk.providers import Pkcs11KeyProvider
from tests.support.hsm.nss import Nss
from tests.support.hsm.softhsm import SoftHsm


class Token(Protocol):
    """A token, and what its owner does in it."""

    module: str
    profile: str
    pin: str

    def uri(self, label: str, name: str) -> str:
        """The URI of a KEK."""

    def owner(self, label: str, what: str, name: str, *more: str) -> str:
        """Do one of the acts of `tests.support.hsm.owner`."""


class SlowToken(Token, Protocol):
    """A token that takes its time to make a key: the tests of a session share two, by these names."""

    names: list[str]

    def take_away(self, name: str) -> None:
        """Take access to a KEK away."""

    def give_back(self, name: str) -> None:
        """Give access back."""


class TokenPlace:
    """A token with two KEKs."""

    hsm: Token

    def __init__(self, hsm: SoftHsm | Nss, folder: Path, label: str = "acme") -> None:
        self.hsm, self._files, self.label, self.folder = hsm, hsm, label, folder
        self._begin(f"kek-{uuid4().hex}", f"other-{uuid4().hex}")

    def rotate(self) -> None:
        self.new_provider().rotate(self.kek_uri)

    def revoke(self) -> None:
        self.backup = self.folder / uuid4().hex
        self._files.back_up(self.label, self.backup)
        self.hsm.owner(self.label, "delete", self.name)

    def restore(self) -> None:
        self._files.restore(self.label, self.backup)

    def lose(self, version: str) -> None:
        self.hsm.owner(self.label, "delete", self.name, version)

    def new_provider(self, **options: Any) -> Pkcs11KeyProvider:
        settings: dict[str, Any] = {"pin": lambda label: self.hsm.pin, "profile": self.hsm.profile, **options}
        self.made.append(Pkcs11KeyProvider(self.hsm.module, **settings))
        return self.made[-1]

    def close(self) -> None:
        for provider in self.made:
            provider.close()

    def _begin(self, name: str, other: str) -> None:
        self.name = name
        self.kek_uri, self.other_kek_uri = (self.hsm.uri(self.label, one) for one in (name, other))
        self.made: list[Pkcs11KeyProvider] = []
        self.provider = self.new_provider(make_keys=True)
        self.provider.ensure(self.kek_uri)
        self.provider.ensure(self.other_kek_uri)


class SharedPlace(TokenPlace):
    """A slow token with the two KEKs of the session."""

    def __init__(self, hsm: SlowToken) -> None:
        self.hsm, self._slow, self.label = hsm, hsm, ""
        self._taken = False
        self._begin(*hsm.names)

    def revoke(self) -> None:
        self._taken = True
        self._slow.take_away(self.name)

    def restore(self) -> None:
        self._slow.give_back(self.name)
        self._taken = False

    def close(self) -> None:
        if self._taken:
            self.restore()
        super().close()
