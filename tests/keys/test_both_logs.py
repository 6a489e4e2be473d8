"""The log of a customer's vault, joined with the trail as docs/audit.md does it: each call has its reason."""

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.doctor import run_checks
from sqlalchemy_cmk.rekey import Job, Rekey
from sqlalchemy_cmk.runtime.because import REASONS
from sqlalchemy_cmk.testing import KeyVaultEmulator
from tests.providers.places import AzurePlace, vault_place
from tests.support.databases import Database

ALIKE = 23


class Clinic:
    """acme's notes under a KEK in its own vault, and what its owner sees of that."""

    def __init__(self, place: AzurePlace, url: str) -> None:
        self.place = place
        self.engine, metadata = create_engine(url), MetaData()
        self.now = 1000.0
        self.notes = Table(
            "notes",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("owner", String(20)),
            Column("text", EncryptedType(String(40))),
            info={"cmk_tenant": "owner"},
        )
        self.keyring = Keyring(
            self.engine,
            platform_key=place.other_kek_uri,
            providers=[place.new_provider(user_agent="clinic/2.1")],
            refresh_ahead=False,
            revalidation_jitter=0,
            clock=lambda: self.now,
        )
        self.keyring.protect(metadata)
        metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            connection.execute(self.notes.insert(), [{"owner": "acme", "text": "one"}])

    def read(self) -> None:
        with self.engine.connect() as connection:
            connection.execute(self.notes.select().where(self.notes.c.owner == "acme")).all()

    def joined(self) -> Counter[tuple[str, str, str]]:
        """How often the vault was called, by the reason in the id, the event and the detail in the trail.

        As the query of docs/audit.md: calls are matched by the first four groups of their ids.
        """
        rows = {}
        for one in self.keyring.audit.entries():
            for begins in {seen.request_id[:ALIKE] for seen in self.place.vault.requests}:
                if begins in one.detail:
                    rows[begins] = one.event, one.detail.replace(begins, "ID")
        found: Counter[tuple[str, str, str]] = Counter()
        for seen in self.place.vault.requests:
            if seen.operation in ("wrapKey", "unwrapKey") and seen.status == 200:
                assert seen.user_agent.startswith("clinic/2.1 ")
                reason = REASONS[int(seen.request_id[ALIKE + 1], 16)]
                found[(reason, *rows[seen.request_id[:ALIKE]])] += 1
        return found

    def fresh(self) -> None:
        self.keyring.forget()
        self.place.vault.requests.clear()

    def close(self) -> None:
        self.keyring.close()
        self.engine.dispose()


@pytest.fixture
def clinic(key_vault_emulator: KeyVaultEmulator, sqlite_database: Database) -> Iterator[Clinic]:
    place = vault_place(key_vault_emulator)
    clinic = Clinic(place, sqlite_database.url)
    yield clinic
    clinic.close()
    place.close()


def said(found: Counter[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """What was found, without what follows an id."""
    return {(reason, event, detail.partition("ID")[0]) for reason, event, detail in found}


def test_one_row_explains_a_cold_open_and_every_later_proof(clinic: Clinic) -> None:
    clinic.fresh()
    for _ in range(3):
        clinic.read()
        clinic.now += 300
    found = clinic.joined()
    assert said(found) == {("open", "unwrap", "open, call "), ("proof", "unwrap", "open, call ")}
    assert sorted(found.values()) == [1, 2]


def test_changes_of_keys_name_their_calls(clinic: Clinic) -> None:
    place, keyring = clinic.place, clinic.keyring
    place.vault.requests.clear()
    keyring.assign("acme", place.kek_uri)
    assert said(clinic.joined()) == {("change", "assign", f"from {place.other_kek_uri}, calls ")}
    place.vault.requests.clear()
    place.rotate()
    keyring.lifecycle.rewrap("acme")
    assert said(clinic.joined()) == {("rewrap", "rewrap", "1 DEKs, calls ")}
    place.vault.requests.clear()
    keyring.lifecycle.rotate_dek("acme")
    assert {one[:2] for one in clinic.joined()} == {("change", "rotate")}


def test_a_rekey_run_and_its_reason_stand_with_the_keys_that_its_worker_opens(clinic: Clinic) -> None:
    clinic.keyring.lifecycle.rotate_dek("acme")
    clinic.fresh()
    with clinic.keyring.because("DPIA 12"):
        report = Rekey(clinic.keyring, rate=None).run(Job.of(clinic.notes))
    assert report.rows_changed == 1
    found = clinic.joined()
    assert said(found) == {("rekey", "unwrap", f"rekey run {report.run_id}, call ")}
    assert all(detail.endswith("; because: DPIA 12") for _, _, detail in found)


def test_the_doctor_tells_the_owner_of_each_kek_that_it_has_asked(clinic: Clinic) -> None:
    clinic.keyring.assign("acme", clinic.place.kek_uri)
    clinic.fresh()
    run_checks(clinic.keyring)
    assert ("doctor", "check", "doctor, calls ") in said(clinic.joined())
    assert {reason for reason, _, _ in clinic.joined()} == {"doctor"}
    rows = [one for one in clinic.keyring.audit.entries() if one.event == "check"]
    assert {one.kek_uri for one in rows} == {clinic.place.kek_uri, clinic.place.other_kek_uri}
    assert clinic.keyring.audit.verify().problems == ()
