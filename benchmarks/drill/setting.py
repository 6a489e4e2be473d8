"""What every process of a drill has to know, in one file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from azure.identity import ClientSecretCredential
from sqlalchemy import Engine

from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.providers import AzureKeyVaultProvider, LocalKeyProvider

KEK = "kek"


@dataclass(frozen=True)
class Times:
    """The keyring's durations, in seconds: short ones, so that a drill is; and its ``lock_notify``."""

    revalidate_after: float = 3.0
    retry_after: float = 1.0
    outage_grace: float = 300.0
    lock_notify: bool = False


@dataclass(frozen=True)
class Setting:
    """Where everything is.

    Attributes:
        database_url: the application's database.
        folder: the drill's files.
        login: what a credential needs: authority, directory, client and secret.
        ca_file: the certificate of the vaults' authority.
        vaults: each tenant's vault.
        times: the keyring's durations.
    """

    database_url: str
    folder: str
    login: dict[str, str]
    ca_file: str
    vaults: dict[str, str]
    times: Times = field(default_factory=Times)

    @classmethod
    def read(cls, path: Path) -> "Setting":
        content = json.loads(path.read_text())
        return cls(**{**content, "times": Times(**content["times"])})

    def write(self) -> Path:
        path = Path(self.folder, "setting.json")
        path.write_text(json.dumps(asdict(self)))
        return path

    def kek_uri(self, tenant: str) -> str:
        return f"{self.vaults[tenant]}/keys/{KEK}"

    def keyring(self, engine: Engine, actor: str) -> Keyring:
        """A keyring with the library's own time-outs, and retries as short as its durations."""
        vaults = AzureKeyVaultProvider(
            self._credential,
            trusted_hosts=[url.removeprefix("https://") for url in self.vaults.values()],
            retries=1,
            retry_bound=5,
            connection_verify=self.ca_file,
        )
        return Keyring(
            engine,
            platform_key="local:pmk",
            providers=[LocalKeyProvider(Path(self.folder, "keys.json")), vaults],
            revalidate_after=self.times.revalidate_after,
            retry_after=self.times.retry_after,
            outage_grace=self.times.outage_grace,
            lock_notify=self.times.lock_notify,
            max_open_keys=2 * len(self.vaults) + 10,
            actor=actor,
        )

    def _credential(self) -> Any:
        return ClientSecretCredential(
            **self.login, disable_instance_discovery=True, connection_verify=self.ca_file
        )
