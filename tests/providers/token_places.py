"""Places where KEKs live in tokens, and what their owners do there from processes of their own."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy_cmk.providers import Pkcs11KeyProvider
from tests.support.hsm import PIN
from tests.support.hsm.nss import Nss
from tests.support.hsm.softhsm import SoftHsm


class TokenPlace:
    """A token with two KEKs."""

    def __init__(self, hsm: SoftHsm | Nss, folder: Path, label: str = "acme") -> None:
        self.hsm, self.label, self.folder = hsm, label, folder
        self.name = f"kek-{uuid4().hex}"
        self.kek_uri = hsm.uri(label, self.name)
        self.other_kek_uri = hsm.uri(label, f"other-{uuid4().hex}")
        self.made: list[Pkcs11KeyProvider] = []
        self.provider = self.new_provider(make_keys=True)
        self.provider.ensure(self.kek_uri)
        self.provider.ensure(self.other_kek_uri)

    def rotate(self) -> None:
        self.new_provider().rotate(self.kek_uri)

    def revoke(self) -> None:
        self.backup = self.folder / uuid4().hex
        self.hsm.back_up(self.label, self.backup)
        self.hsm.owner(self.label, "delete", self.name)

    def restore(self) -> None:
        self.hsm.restore(self.label, self.backup)

    def new_provider(self, **options: Any) -> Pkcs11KeyProvider:
        settings: dict[str, Any] = {"pin": lambda label: PIN, "profile": self.hsm.profile, **options}
        self.made.append(Pkcs11KeyProvider(self.hsm.module, **settings))
        return self.made[-1]

    def close(self) -> None:
        for provider in self.made:
            provider.close()
