"""A tenant's whole life with a KEK of its own: what every provider has to see through, one class of tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from sqlalchemy_cmk import EncryptedType, KeyRevoked, Keyring, Sealed
from sqlalchemy_cmk.doctor import check_keys
from sqlalchemy_cmk.findings import Level
from sqlalchemy_cmk.providers import KeyProvider, LocalKeyProvider
from sqlalchemy_cmk.testing import KekPlace, KeyVaultEmulator
from tests.providers.places import vault_place
from tests.support.databases import Database


class LosingPlace(KekPlace, Protocol):
    """A place whose owner can also take one version of a KEK away, for good."""

    def lose(self, version: str) -> None: ...


class Clinic:
    """Notes of two tenants: "acme" with a KEK of its own, "globex" with the platform's, and a clock."""

    def __init__(self, url: str, folder: Path, *providers: KeyProvider) -> None:
        self.now = 1000.0
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
        self.keyring = Keyring(
            self.engine,
            platform_key="local:pmk",
            providers=[*providers, LocalKeyProvider(folder / "platform.json")],
            clock=lambda: self.now,
            revalidation_jitter=0,
        )
        self.keyring.protect(self.base)
        self.base.metadata.create_all(self.engine)

    def write(self, owner: str, text: str) -> None:
        with Session(self.engine) as session:
            session.add(self.Note(owner=owner, text=text, late=text))
            session.commit()

    def read(self, owner: str) -> list[str]:
        with Session(self.engine) as session:
            statement = select(self.Note).where(self.Note.owner == owner).order_by(self.Note.id)
            return [note.text for note in session.scalars(statement)]

    def read_late(self, owner: str) -> list[str | Sealed]:
        with Session(self.engine) as session:
            return list(session.scalars(select(self.Note.late).where(self.Note.owner == owner)))

    def state(self) -> str:
        return next(line.state for line in self.keyring.status() if line.tenant == "acme")

    def versions(self) -> set[tuple[str, bool]]:
        """The KEKs under which the DEKs of "acme" are, and whether a newer version of each is there."""
        return {(one.kek_uri, one.stale) for one in self.keyring.kek_uses(["acme"])}

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


class TenantLife:
    """The tests of one provider; `kek_place` comes from the class that derives from this one."""

    @pytest.fixture
    def vault_uri(self, key_vault_emulator: KeyVaultEmulator) -> Iterator[tuple[KeyProvider, str]]:
        """A KEK in a vault that is not the place under test, and its provider."""
        place = vault_place(key_vault_emulator)
        yield place.provider, place.kek_uri
        place.close()

    @pytest.fixture
    def life_database(self, sqlite_database: Database) -> Database:
        """Where the clinic's rows are; a provider's tests may ask for another one."""
        return sqlite_database

    @pytest.fixture
    def clinic(
        self,
        life_database: Database,
        tmp_path: Path,
        kek_place: LosingPlace,
        vault_uri: tuple[KeyProvider, str],
    ) -> Iterator[Clinic]:
        clinic = Clinic(life_database.url, tmp_path, kek_place.provider, vault_uri[0])
        clinic.write("globex", "ours")
        clinic.keyring.assign("acme", kek_place.kek_uri)
        clinic.write("acme", "theirs")
        yield clinic
        clinic.close()

    def test_what_is_revoked_is_shut_in_time_and_comes_back(
        self, clinic: Clinic, kek_place: LosingPlace
    ) -> None:
        kek_place.revoke()
        assert clinic.read("acme") == ["theirs"]
        clinic.now += 300
        for use in (lambda: clinic.read("acme"), lambda: clinic.write("acme", "more")):
            with pytest.raises(KeyRevoked):
                use()
        assert isinstance(clinic.read_late("acme")[0], Sealed)
        assert clinic.read("globex") == ["ours"] and clinic.state() == "revoked"
        kek_place.restore()
        clinic.now += 15
        assert clinic.read("acme") == ["theirs"] and clinic.state() == "ok"
        events = [entry.event for entry in clinic.keyring.audit.entries("acme")]
        assert events[:2] == ["assign", "wrap"] and {"revoked", "restored"} <= set(events)
        assert clinic.keyring.audit.verify().problems == ()

    def test_a_rotated_kek_wraps_new_deks_and_rewrap_moves_the_old_ones(
        self, clinic: Clinic, kek_place: LosingPlace
    ) -> None:
        assert clinic.versions() == {(kek_place.kek_uri, False)}
        kek_place.rotate()
        clinic.keyring.forget()
        assert clinic.read("acme") == ["theirs"] and clinic.versions() == {(kek_place.kek_uri, True)}
        clinic.keyring.lifecycle.rotate_dek("acme")
        assert clinic.versions() == {(kek_place.kek_uri, True), (kek_place.kek_uri, False)}
        assert clinic.keyring.lifecycle.rewrap().rewrapped == 1
        assert clinic.versions() == {(kek_place.kek_uri, False)}
        clinic.keyring.forget()
        assert clinic.read("acme") == ["theirs"]

    def test_a_tenant_moves_to_a_vault_and_back(
        self, clinic: Clinic, kek_place: LosingPlace, vault_uri: tuple[KeyProvider, str]
    ) -> None:
        clinic.keyring.assign("acme", vault_uri[1])
        kek_place.revoke()
        clinic.keyring.forget()
        assert clinic.read("acme") == ["theirs"] and clinic.versions() == {(vault_uri[1], False)}
        kek_place.restore()
        clinic.keyring.assign("acme", kek_place.kek_uri, fresh_dek=True)
        clinic.write("acme", "more")
        clinic.keyring.forget()
        assert clinic.read("acme") == ["theirs", "more"]
        kek_place.revoke()
        clinic.keyring.forget()
        with pytest.raises(KeyRevoked):
            clinic.read("acme")

    def test_a_tenant_cannot_leave_a_kek_that_is_revoked(
        self, clinic: Clinic, kek_place: LosingPlace
    ) -> None:
        kek_place.revoke()
        with pytest.raises(KeyRevoked):
            clinic.keyring.assign("acme", "local:pmk")
        kek_place.restore()
        clinic.keyring.assign("acme", "local:pmk")
        assert clinic.read("acme") == ["theirs"]

    def test_doctor_tells_whether_the_kek_serves(self, clinic: Clinic, kek_place: LosingPlace) -> None:
        assert {kek_place.kek_uri, "local:pmk"} <= serving(clinic)
        kek_place.revoke()
        assert kek_place.kek_uri not in serving(clinic) and "local:pmk" in serving(clinic)

    def test_a_version_that_is_gone_is_named_though_the_kek_serves(
        self, clinic: Clinic, kek_place: LosingPlace
    ) -> None:
        ((_, old),) = versions_in_use(clinic)
        kek_place.rotate()
        clinic.keyring.lifecycle.rotate_dek("acme")
        kek_place.lose(old)
        assert kek_place.kek_uri in serving(clinic)
        failures = versions_in_use(clinic)
        failure = failures.pop((kek_place.kek_uri, old))
        assert isinstance(failure, KeyRevoked) and list(failures.values()) == [None]
        assert (Level.PROBLEM, kek_place.kek_uri, str(failure)) in {
            (one.level, one.subject, one.what) for one in check_keys(clinic.keyring)
        }
        # The newest version opens the new DEK.
        assert clinic.state() == "ok"


def versions_in_use(clinic: Clinic) -> dict[tuple[str, str], object]:
    """The KEK versions that wrap the DEKs of "acme", with why one does not unwrap."""
    uses = clinic.keyring.kek_uses(["acme"], newest=False)
    return {(one.kek_uri, one.version): one.failure for one in uses}


def serving(clinic: Clinic) -> set[str]:
    return {finding.subject for finding in check_keys(clinic.keyring) if finding.what == "wraps and unwraps"}
