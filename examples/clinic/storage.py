"""The database, the keyring and the customers' vaults of one data folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from getpass import getuser
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, inspect

from examples.clinic.announcements import Announcements
from examples.clinic.clinics import CLINICS
from examples.clinic.models import Base
from examples.portal.vaults import FileVault, Vault
from sqlalchemy_cmk import KeyRevoked, Keyring
from sqlalchemy_cmk.certificates import make_certificate_key
from sqlalchemy_cmk.providers import LocalKeyProvider

PLATFORM_KEY = "local:pmk"
# Lakeside leaves its key to the platform.
WITH_VAULT = ("riverside", "hillside")
# Who holds their own key when the demonstration begins.
AT_FIRST = ("hillside",)
# Short, so that nobody waits long to see what a revocation does. The library's default is 300 seconds.
REVALIDATE_AFTER = 20
# What one person alone cannot do.
TWO_PEOPLE = ("shred", "unlock")


class OldData(Exception):
    """The data folder was filled by an earlier version of this example."""


class Storage:
    """What one data folder holds.

    Args:
        folder: the data folder; made if it is missing.
        url: a database elsewhere; by default SQLite in the folder.
        vaults: the customers' vaults; by default emulated ones in the folder.

    With ``CLINIC_HSM=softhsm``, or once it was so, Hillside's key is in a token of SoftHSM; with
    ``CLINIC_KEY_VAULT=https://…/keys/…`` in Azure Key Vault.
    """

    def __init__(
        self, folder: Path, url: str | None = None, vaults: Mapping[str, Vault] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.engine: Engine = create_engine(url or f"sqlite:///{folder / 'clinic.db'}")
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _careful)
        # Who acts, for the audit trail; the application knows better while it answers somebody.
        self.acting: Callable[[], str] = getuser
        self.vaults = dict(_vaults(folder) if vaults is None else vaults)
        self.announcements = Announcements(folder, self.vaults)
        providers = dict.fromkeys(one for vault in self.vaults.values() for one in vault.providers)
        self.keyring = Keyring(
            self.engine,
            platform_key=PLATFORM_KEY,
            providers=[*providers, LocalKeyProvider(folder / "keys.json")],
            kek_allowed=self.may_serve,
            actor=lambda: self.acting(),
            two_people=TWO_PEOPLE,
            webhooks=self.announcements.of,
            certificate_key=f"file:{_certificate_key(folder)}",
            revalidate_after=REVALIDATE_AFTER,
            retry_after=3,
        )
        self.keyring.protect(Base)

    @classmethod
    def from_environment(cls) -> Storage:
        """Return that of ``$CLINIC_DATA`` (or ``.demo``) and the URL in ``$CLINIC_DATABASE``, if any."""
        return cls(Path(os.environ.get("CLINIC_DATA", ".demo")), os.environ.get("CLINIC_DATABASE"))

    def may_serve(self, tenant: str, kek_uri: str) -> bool:
        """Say whose key may serve whom: the platform's everyone, a customer's nobody but the customer."""
        vault = self.vaults.get(tenant)
        return kek_uri == PLATFORM_KEY or (vault is not None and kek_uri in vault.allowed)

    def prepare(self) -> None:
        """Make the tables, and give their own key to those who begin with one.

        Raises:
            OldData: the database has tables of an earlier version.
        """
        inspector = inspect(self.engine)
        if inspector.has_table("patients") and not inspector.has_table("sign_ins"):
            raise OldData(
                f"{self.engine.url!r} was made by an earlier version of this example. Its patients are "
                "invented: remove the data folder, or name another one with --data"
            )
        Base.metadata.create_all(self.engine)
        known = {line.tenant: line for line in self.keyring.status()}
        for clinic in AT_FIRST:
            vault, line = self.vaults[clinic], known.get(clinic)
            moves = line is not None and line.kek_uri in vault.former
            if line is None or moves:
                with suppress(KeyRevoked):  # it stays under the key that is switched off, until that is on
                    self.keyring.assign(clinic, vault.kek_uri)

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


def _certificate_key(folder: Path) -> Path:
    path = folder / "certificates.pem"
    if not path.exists():
        make_certificate_key(path)
    return path


def _vaults(folder: Path) -> dict[str, Vault]:
    """Return the customers' vaults: emulated ones, but for a key that is said to be elsewhere."""
    vaults: dict[str, Vault] = {
        clinic: FileVault(folder / "vaults", clinic, CLINICS[clinic]) for clinic in WITH_VAULT
    }
    if os.environ.get("CLINIC_HSM") == "softhsm" or (folder / "softhsm").exists():
        # Without an HSM the example needs no python-pkcs11.
        from examples.clinic.token import Token

        vaults["hillside"] = Token(folder, vaults["hillside"])
    if kek_uri := os.environ.get("CLINIC_KEY_VAULT"):
        from examples.portal.azure import KeyVault

        vaults["hillside"] = KeyVault(vaults["hillside"], kek_uri)
    return vaults


def _careful(connection: object, _: object) -> None:
    """Heed foreign keys, and let readers read while somebody writes."""
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()
