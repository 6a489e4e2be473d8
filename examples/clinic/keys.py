"""The clinics and their keys: one on the platform's KEK, one on a KEK of its own."""

from pathlib import Path

from sqlalchemy import Engine, create_engine

from examples.clinic.models import Base
from sqlalchemy_cmk import Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider

CLINICS = {"riverside": "Riverside Clinic", "hillside": "Hillside Practice"}
PLATFORM_KEY = "local:pmk"
OWN_KEYS = {"hillside": "local:hillside"}


class Storage:
    """The database and the keyring of one data folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.engine: Engine = create_engine(f"sqlite:///{folder / 'clinic.db'}")
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.keyring = Keyring(
            self.engine, platform_key=PLATFORM_KEY, providers=[self.provider], revalidate_after=60
        )
        self.keyring.protect(Base)
        Base.metadata.create_all(self.engine)

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()

    def assign_own_keys(self) -> None:
        for clinic, kek_uri in OWN_KEYS.items():
            self.keyring.assign(clinic, kek_uri)

    def switch(self, clinic: str, on: bool) -> None:
        """Switch a clinic's own KEK off or on, as its owner would do in their vault."""
        change = self.provider.enable if on else self.provider.disable
        change(OWN_KEYS[clinic])
        self.keyring.forget(clinic)
