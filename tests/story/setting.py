"""What the vendor's processes have to know, in one file, as a deployment would have it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "STORY_SETTING"
ACTOR = "STORY_ACTOR"


@dataclass(frozen=True)
class Setting:
    """The vendor's configuration.

    Attributes:
        database_url: the vendor's database.
        folder: its key file, its signing key and its logs.
        login: what its credential needs: authority, directory, client and secret.
        ca_file: the certificate of the vaults' authority.
        hosts: the vaults that tokens may be sent to.
        webhook: where the customer wants to hear of events.
        secret: what those messages are signed with.
    """

    database_url: str
    folder: str
    login: dict[str, str]
    ca_file: str
    hosts: list[str]
    webhook: str
    secret: str

    @classmethod
    def read(cls, path: str) -> "Setting":
        return cls(**json.loads(Path(path).read_text()))

    def write(self) -> Path:
        path = Path(self.folder, "setting.json")
        path.write_text(json.dumps(asdict(self)))
        return path

    @property
    def signing_key(self) -> Path:
        return Path(self.folder, "certificates.pem")
