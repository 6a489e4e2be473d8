"""The clinics and their keys: one on the platform's KEK, one on a KEK of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url

from examples.clinic.models import Base
from sqlalchemy_cmk import KeyRevoked, Keyring
from sqlalchemy_cmk.providers import KeyProvider, LocalKeyProvider

CLINICS = {"riverside": "Riverside Clinic", "hillside": "Hillside Practice"}
PLATFORM_KEY = "local:pmk"
OWN_KEYS = {"hillside": "local:hillside"}


class Storage:
    """The database and the keyring of one data folder; ``url`` names a database elsewhere, by any driver.

    With ``CLINIC_HSM=softhsm`` in the environment, or once it was so, the clinic with a KEK of its own has it
    in a token of SoftHSM.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        address = make_url(url or f"sqlite:///{folder / 'clinic.db'}")
        if address.get_dialect().is_async:
            from sqlalchemy.ext.asyncio import create_async_engine  # needs greenlet, which the demo has not

            # For migrations, each of which has an event loop of its own: no connection may outlive it.
            self.engine: Any = create_async_engine(address, poolclass=NullPool)
        else:
            self.engine = create_engine(address)
        self.provider = LocalKeyProvider(folder / "keys.json")
        self.own_keys, self.token = dict(OWN_KEYS), None
        providers: list[KeyProvider] = [self.provider]
        if os.environ.get("CLINIC_HSM") == "softhsm" or (folder / "softhsm").exists():
            # Without an HSM the example needs no python-pkcs11.
            from examples.clinic.token import KEK_URI, Token

            self.token = Token(folder)
            self.own_keys = dict.fromkeys(OWN_KEYS, KEK_URI)
            providers.append(self.token.provider)
        self.keyring = Keyring(
            self.engine, platform_key=PLATFORM_KEY, providers=providers, revalidate_after=60
        )
        self.keyring.protect(Base)

    @classmethod
    def from_environment(cls) -> Storage:
        """Return that of ``$CLINIC_DATA`` (or ``.demo``) and the URL in ``$CLINIC_DATABASE``, if any."""
        return cls(Path(os.environ.get("CLINIC_DATA", ".demo")), os.environ.get("CLINIC_DATABASE"))

    def close(self) -> None:
        self.keyring.close()
        getattr(self.engine, "sync_engine", self.engine).dispose()

    def assign_own_keys(self) -> None:
        """Put clinics under their own KEKs, also those that had another one until now."""
        known = {line.tenant: line.kek_uri for line in self.keyring.status(self.own_keys)}
        for clinic, kek_uri in self.own_keys.items():
            if known.get(clinic) != kek_uri:
                try:
                    self.keyring.assign(clinic, kek_uri)
                except KeyRevoked:  # it stays under the KEK that is switched off, until that is on again
                    self.own_keys[clinic] = known[clinic]

    def switch(self, clinic: str, on: bool) -> None:
        """Switch a clinic's own KEK off or on, as its owner would do in their vault."""
        kek_uri = self.own_keys[clinic]
        if self.token is not None and self.token.provider.handles(kek_uri):
            self.token.switch(on)
        else:
            change = self.provider.enable if on else self.provider.disable
            change(kek_uri)
        self.keyring.forget(clinic)
        with suppress(KeyRevoked):  # the key tables note it, for everybody to see
            self.keyring.warm([clinic])
