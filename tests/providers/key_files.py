"""A key file with two KEKs, as a place for the provider contract."""

import json
from pathlib import Path

from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.runtime.secret import Secret

DEK = Secret(bytes(range(32)))


class LocalPlace:
    """Two KEKs in a key file."""

    kek_uri = "local:acme"
    other_kek_uri = "local:globex"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.provider = LocalKeyProvider(path)
        self.provider.ensure(self.kek_uri)
        self.provider.ensure(self.other_kek_uri)

    def rotate(self) -> None:
        self.provider.rotate(self.kek_uri)

    def revoke(self) -> None:
        self.provider.disable(self.kek_uri)

    def restore(self) -> None:
        self.provider.enable(self.kek_uri)

    def lose(self, version: str) -> None:
        held = json.loads(self.path.read_text())
        kek = held["keks"]["acme"]
        kek["versions"] = [one for one in kek["versions"] if one["id"] != version]
        self.path.write_text(json.dumps(held))

    def new_provider(self) -> LocalKeyProvider:
        return LocalKeyProvider(self.path)


def secrets_of(path: Path) -> list[str]:
    keks = json.loads(path.read_text())["keks"].values()
    return [version["key"] for kek in keks for version in kek["versions"]]
