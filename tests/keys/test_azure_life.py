"""A tenant's life with its KEK in a vault: the keyring, the Azure provider and the SDK, over TLS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_cmk import EncryptedType, KeyRevoked, Keyring, KeyUnavailable, Sealed
from sqlalchemy_cmk.providers import AzureKeyVaultProvider, LocalKeyProvider
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.support.databases import Database


class Clinic:
    """Notes of two tenants: "acme" with a KEK in its vault, "globex" with the platform's."""

    def __init__(self, url: str, folder: Path, emulator: KeyVaultEmulator, vault: Vault) -> None:
        self.vault, self.emulator, self.now = vault, emulator, 1000.0
        self.base: Any = type("Base", (DeclarativeBase,), {})

        class Note(self.base):  # type: ignore[misc]
            __tablename__ = "notes"
            __cmk_tenant__ = "owner"
            id: Mapped[int] = mapped_column(primary_key=True)
            owner: Mapped[str] = mapped_column(String(40))
            text: Mapped[str] = mapped_column(EncryptedType(String(40)))
            late: Mapped[str | None] = mapped_column(EncryptedType(String(40), on_revoked="seal"))

        self.Note = Note
        self.engine = create_engine(url)
        options = {"trusted_hosts": ["127.*"], "retries": 1, "retry_bound": 1, "read_timeout": 2}
        self.providers = [
            LocalKeyProvider(folder / "keys.json"),
            AzureKeyVaultProvider(emulator.credential, version_check=0, **options, **emulator.client_options),
        ]
        self.keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=self.providers,
            clock=lambda: self.now,
            revalidation_jitter=0,
        )
        self.keyring.protect(self.base)
        self.base.metadata.create_all(self.engine)

    def write(self, owner: str, text: str) -> None:
        with Session(self.engine) as session:
            session.add(self.Note(owner=owner, text=text))
            session.commit()

    def read(self, owner: str) -> list[str]:
        with Session(self.engine) as session:
            statement = select(self.Note).where(self.Note.owner == owner).order_by(self.Note.id)
            return [note.text for note in session.scalars(statement)]

    def state(self) -> str:
        return next(line.state for line in self.keyring.status() if line.tenant == "acme")

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


@pytest.fixture
def clinic(
    database: Database, tmp_path: Path, key_vault_emulator: KeyVaultEmulator, key_vault: Vault
) -> Iterator[Clinic]:
    clinic = Clinic(database.url, tmp_path, key_vault_emulator, key_vault)
    clinic.write("globex", "ours")
    key_vault.create_key("kek")
    clinic.keyring.assign("acme", key_vault.key_uri("kek"))
    clinic.write("acme", "theirs")
    yield clinic
    clinic.close()


TAKEN_AWAY: dict[str, tuple[Callable[[Clinic], None], Callable[[Clinic], None]]] = {
    "disabled": (lambda c: c.vault.disable_key("kek"), lambda c: c.vault.enable_key("kek")),
    "deleted": (lambda c: c.vault.delete_key("kek"), lambda c: c.vault.recover_key("kek")),
    "no permission": (lambda c: c.vault.revoke(c.emulator.app), lambda c: c.vault.grant(c.emulator.app)),
    "blocked": (lambda c: c.vault.block(), lambda c: c.vault.unblock()),
}


@pytest.mark.parametrize("how", TAKEN_AWAY)
def test_what_is_taken_away_is_shut_in_time_and_comes_back(clinic: Clinic, how: str) -> None:
    take, give = TAKEN_AWAY[how]
    take(clinic)
    assert clinic.read("acme") == ["theirs"]
    clinic.now += 300
    for use in (lambda: clinic.read("acme"), lambda: clinic.write("acme", "more")):
        with pytest.raises(KeyRevoked):
            use()
    assert clinic.read("globex") == ["ours"] and clinic.state() == "revoked"
    give(clinic)
    clinic.now += 15
    assert clinic.read("acme") == ["theirs"] and clinic.state() == "ok"
    events = [entry.event for entry in clinic.keyring.audit.entries("acme")]
    assert events[:2] == ["assign", "wrap"] and {"revoked", "restored"} <= set(events)
    assert clinic.keyring.audit.verify().problems == ()


def test_an_outage_is_ridden_out_and_ends(clinic: Clinic) -> None:
    clinic.vault.faults.down()
    clinic.now += 3599
    assert clinic.read("acme") == ["theirs"] and clinic.state() == "ok"
    clinic.now += 1
    with pytest.raises(KeyUnavailable):
        clinic.read("acme")
    assert clinic.read("globex") == ["ours"] and clinic.state() == "ok"


def test_a_rotated_key_wraps_new_deks_and_rewrap_moves_the_old_ones(clinic: Clinic) -> None:
    old = clinic.vault.versions("kek")[0].version
    clinic.vault.rotate_key("kek")
    clinic.keyring.forget()
    assert clinic.read("acme") == ["theirs"]
    assert clinic.keyring.lifecycle.rewrap().rewrapped == 1
    clinic.vault.disable_key("kek", old)
    clinic.keyring.forget()
    assert clinic.read("acme") == ["theirs"]


def test_a_tenant_moves_from_vault_to_platform_and_to_another_vault(clinic: Clinic) -> None:
    clinic.keyring.assign("acme", "local:pmk")
    clinic.vault.delete_key("kek")
    clinic.keyring.forget()
    assert clinic.read("acme") == ["theirs"]
    hsm = clinic.emulator.managed_hsm(f"hsm of {id(clinic)}")
    hsm.create_key("kek")
    clinic.keyring.assign("acme", hsm.key_uri("kek"), fresh_dek=True)
    clinic.write("acme", "more")
    clinic.keyring.forget()
    assert clinic.read("acme") == ["theirs", "more"]
    hsm.disable_key("kek")
    clinic.keyring.forget()
    with pytest.raises(KeyRevoked):
        clinic.read("acme")


def test_a_tenant_cannot_leave_a_key_that_is_revoked(clinic: Clinic) -> None:
    clinic.vault.disable_key("kek")
    with pytest.raises(KeyRevoked):
        clinic.keyring.assign("acme", "local:pmk")
    clinic.vault.enable_key("kek")
    clinic.keyring.assign("acme", "local:pmk")
    assert clinic.read("acme") == ["theirs"]


def test_a_value_that_cannot_be_opened_comes_as_sealed(clinic: Clinic) -> None:
    with Session(clinic.engine) as session:
        session.scalars(select(clinic.Note).where(clinic.Note.owner == "acme")).one().late = "late"
        session.commit()
    clinic.vault.disable_key("kek")
    clinic.keyring.forget()
    with Session(clinic.engine) as session:
        late = session.scalars(select(clinic.Note.late).where(clinic.Note.owner == "acme")).one()
    assert isinstance(late, Sealed) and "KeyDisabled" in late.reason


def test_reading_asks_the_vault_once_a_period(clinic: Clinic) -> None:
    clinic.vault.requests.clear()
    for period in range(3):
        for _ in range(20):
            clinic.read("acme")
        assert clinic.vault.requests.operations() == ["unwrapKey"] * period
        clinic.now += 300
