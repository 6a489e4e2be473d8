"""What the application's process has to know, in one file."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azure.identity import ClientSecretCredential
from sqlalchemy import Engine

from sqlalchemy_cmk import KekPolicy, Keyring
from sqlalchemy_cmk.providers import AzureKeyVaultProvider

REVALIDATE_AFTER = 300.0
OUTAGE_GRACE = 3600.0
RETRY_AFTER = 15.0
RETRY_BOUND = 4.0


@dataclass(frozen=True)
class Setting:
    """Where everything is.

    Attributes:
        database_url: the application's database.
        folder: the application's files: its logs, its crash reports and its list of vaults.
        login: what a credential needs: authority, directory, client and secret.
        ca_file: the certificate of the vaults' authority.
        trusted_hosts: the hosts of Key Vault's cloud: the attackers' vaults are there too.
        platform_key: the platform's KEK.
        record_key: where the record key is; empty if there is none.
        policy: whether the application has a list of whose vault serves whom.
    """

    database_url: str
    folder: str
    login: dict[str, str]
    ca_file: str
    trusted_hosts: list[str]
    platform_key: str
    record_key: str
    policy: bool

    @classmethod
    def read(cls, path: Path) -> "Setting":
        return cls(**json.loads(path.read_text()))

    def write(self) -> Path:
        path = Path(self.folder, "setting.json")
        path.write_text(json.dumps(asdict(self)))
        return path

    @property
    def vaults_file(self) -> Path:
        """The list of whose vault serves whom."""
        return Path(self.folder, "vaults.json")

    def keyring(self, engine: Engine, actor: str, **options: Any) -> Keyring:
        """A keyring on the database, whose keys are all in vaults."""
        vaults = AzureKeyVaultProvider(
            self.credential,
            trusted_hosts=self.trusted_hosts,
            retries=0,
            retry_bound=RETRY_BOUND,
            connection_verify=self.ca_file,
        )
        return Keyring(
            engine,
            platform_key=self.platform_key,
            providers=[vaults],
            revalidate_after=REVALIDATE_AFTER,
            outage_grace=OUTAGE_GRACE,
            retry_after=RETRY_AFTER,
            revalidation_jitter=0,
            record_key=self.record_key or None,
            actor=actor,
            **{"kek_allowed": self._policy() if self.policy else None, **options},
        )

    def credential(self) -> Any:
        """The application's login."""
        return ClientSecretCredential(
            **self.login, disable_instance_discovery=True, connection_verify=self.ca_file
        )

    def _policy(self) -> Callable[[str, str], bool]:
        def allowed(tenant: str, kek_uri: str) -> bool:
            vaults = json.loads(self.vaults_file.read_text())
            return KekPolicy(vaults, everyone=[self.platform_key])(tenant, kek_uri)

        return allowed
