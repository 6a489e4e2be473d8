"""``on_revoked="seal"``: what stands for a value whose key is revoked, and what may be done with it."""

import pickle
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Date, Numeric, String, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from sqlalchemy_cmk import EncryptedType, KeyRevoked, KeyUnavailable, Sealed, TamperedError
from tests.support.vault import Vault

VALUES: dict[str, Any] = {
    "ssn": "078-05-1120",
    "email": "ann@example.org",
    "born": date(1980, 2, 29),
    "balance": Decimal("12.50"),
    "history": {"visits": [1, 2]},
}


class Page:
    """A table with a row of acme, whose key can be taken away, and one of globex."""

    def __init__(self, vault: Vault) -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str] = mapped_column(String(40))
            room: Mapped[str | None] = mapped_column(String(40))
            ssn: Mapped[Any] = mapped_column(EncryptedType(String(40), on_revoked="seal"))
            email: Mapped[Any] = mapped_column(
                EncryptedType(String(40), deterministic=True, on_revoked="seal")
            )
            born: Mapped[Any] = mapped_column(EncryptedType(Date, on_revoked="seal"))
            balance: Mapped[Any] = mapped_column(EncryptedType(Numeric(10, 2), on_revoked="seal"))
            history: Mapped[Any] = mapped_column(EncryptedType(JSON, on_revoked="seal"))
            other: Mapped[Any] = mapped_column(EncryptedType(String(40), on_revoked="seal"), nullable=True)
            strict: Mapped[Any] = mapped_column(EncryptedType(String(40)), nullable=True, deferred=True)

        self.vault = vault
        self.Patient: Any = Patient
        vault.create()
        for tenant in ("acme", "globex"):
            vault.keyring.assign(tenant, f"local:{tenant}")
        vault.keyring.warm(["acme", "globex"], ["randomized", "deterministic"], new=True)
        with vault.session() as session:
            for number, tenant in enumerate(("acme", "globex"), 1):
                session.add(Patient(id=number, clinic=tenant, room="1", strict="s", **VALUES))
            session.commit()

    def revoke(self) -> None:
        self.vault.provider.disable("local:acme")
        self.vault.keyring.forget()

    def give_back(self) -> None:
        self.vault.provider.enable("local:acme")
        self.vault.keyring.forget()

    def stored(self) -> list[list[Any]]:
        """What the sealed columns hold, row by row."""
        names = ", ".join(VALUES)
        rows = self.vault.raw(f"SELECT {names}, other FROM patients ORDER BY id")
        return [[None if one is None else bytes(one) for one in row] for row in rows]

    def sealed(self, column: str = "ssn") -> Sealed:
        with self.vault.session() as session:
            found = getattr(session.get(self.Patient, 1), column)
        assert isinstance(found, Sealed)
        return found

    def run(self, work: Callable[[Session], object]) -> None:
        with self.vault.session() as session:
            work(session)
            session.commit()

    def refuses(self, work: Callable[[Session], object]) -> None:
        """Make sure that a piece of work is refused and writes nothing."""
        before = self.stored()
        with pytest.raises(KeyRevoked):
            self.run(work)
        assert self.stored() == before


@pytest.fixture
def page(vault: Vault) -> Page:
    page = Page(vault)
    page.revoke()
    return page


@pytest.fixture
def sqlite_page(make_vault: Callable[[], Vault]) -> Page:
    page = Page(make_vault())
    page.revoke()
    return page


def test_a_list_with_a_revoked_tenant_renders(page: Page) -> None:
    with page.vault.session() as session:
        acme, globex = session.scalars(select(page.Patient).order_by(page.Patient.id))
        rendered = [f"{row.clinic} {row.room} {row.ssn} {row.born}" for row in (acme, globex)]
    note = "sealed: the key of 'acme' is revoked"
    assert rendered == [f"acme 1 {note} {note}", "globex 1 078-05-1120 1980-02-29"]
    assert {name: getattr(globex, name) for name in VALUES} == VALUES
    assert all(isinstance(getattr(acme, name), Sealed) for name in VALUES)


def test_columns_and_table_rows_hold_sealed_values_too(page: Page) -> None:
    table = page.Patient.__table__
    with page.vault.engine.connect() as connection:
        for columns in ((table.c.clinic, table.c.email), (table.c.email, table.c.clinic)):
            rows = connection.execute(select(*columns).order_by(table.c.id)).all()
            assert isinstance(rows[0].email, Sealed) and rows[1].email == VALUES["email"]
        email = select(table.c.email)
        assert isinstance(connection.execute(email.where(table.c.clinic == "acme")).scalar_one(), Sealed)
        assert connection.execute(email.where(table.c.clinic == "globex")).scalar_one() == VALUES["email"]


def test_a_sealed_value_shows_tenant_context_and_reason_but_no_bytes(page: Page) -> None:
    for column in VALUES:
        sealed = page.sealed(column)
        assert (sealed.tenant, sealed.context) == ("acme", f"patients.{column}")
        assert "local:acme is disabled" in sealed.reason
        assert (
            f"patients.{column}" in repr(sealed) and "acme" in repr(sealed) and sealed.reason in repr(sealed)
        )
        stored = page.stored()[0][list(VALUES).index(column)]
        for shown in (repr(sealed), str(sealed), f"{sealed}", f"{sealed:>60}", "%s" % sealed):  # noqa: UP031
            assert "acme" in shown
            assert (
                stored.hex() not in shown
                and repr(stored)[2:-1] not in shown
                and str(VALUES[column]) not in shown
            )


def test_a_flush_of_another_attribute_keeps_the_stored_bytes(page: Page) -> None:
    before = page.stored()

    def change(session: Session) -> None:
        session.get(page.Patient, 1).room = "2"

    page.run(change)
    assert page.stored() == before
    assert page.vault.raw("SELECT room FROM patients ORDER BY id") == [("2",), ("1",)]


def assigned_itself(page: Page, session: Session) -> None:
    patient = session.get(page.Patient, 1)
    patient.ssn, patient.room = patient.ssn, "2"


def assigned_copy(page: Page, session: Session) -> None:
    patient = session.get(page.Patient, 1)
    patient.ssn, patient.room = pickle.loads(pickle.dumps(patient.ssn)), "2"


def merged(page: Page, session: Session) -> None:
    with page.vault.session() as before:
        detached = before.get(page.Patient, 1)
    detached.room = "2"
    session.merge(detached)


def updated_in_bulk(page: Page, session: Session) -> None:
    session.execute(update(page.Patient), [{"id": 1, "room": "2", "ssn": page.sealed()}])


def updated_by_mappings(page: Page, session: Session) -> None:
    session.bulk_update_mappings(page.Patient, [{"id": 1, "room": "2", "ssn": page.sealed()}])


def updated_by_core(page: Page, session: Session) -> None:
    table = page.Patient.__table__
    session.execute(update(table).where(table.c.id == 1).values(room="2", ssn=page.sealed()))


WRITE_BACKS = (
    assigned_itself,
    assigned_copy,
    merged,
    updated_in_bulk,
    updated_by_mappings,
    updated_by_core,
)


@pytest.mark.parametrize("write", WRITE_BACKS, ids=lambda write: write.__name__)
def test_written_back_it_keeps_the_stored_bytes(
    sqlite_page: Page, write: Callable[[Page, Session], None]
) -> None:
    before = sqlite_page.stored()
    sqlite_page.run(lambda session: write(sqlite_page, session))
    assert sqlite_page.stored() == before
    assert sqlite_page.vault.raw("SELECT room FROM patients WHERE id = 1") == [("2",)]


def test_it_moves_to_no_other_tenant_and_no_other_column(page: Page) -> None:
    sealed, patient = page.sealed(), page.Patient
    page.refuses(lambda session: session.add(patient(id=3, clinic="globex", **{**VALUES, "ssn": sealed})))
    page.refuses(
        lambda session: session.execute(insert(patient), [{"clinic": "globex", **VALUES, "ssn": sealed}])
    )
    page.refuses(lambda session: setattr(session.get(patient, 2), "ssn", sealed))
    page.refuses(lambda session: setattr(session.get(patient, 1), "other", sealed))
    page.refuses(lambda session: setattr(session.get(patient, 1), "clinic", "globex"))


def test_in_a_new_row_of_its_tenant_it_is_refused_or_stays_the_same_bytes(page: Page) -> None:
    names = list(VALUES)
    row = {name: page.sealed(name) for name in names}
    try:
        page.run(lambda session: session.execute(insert(page.Patient), [{"id": 3, "clinic": "acme", **row}]))
    except KeyRevoked:
        assert len(page.stored()) == 2
    else:
        assert page.stored()[2] == page.stored()[0]
        page.give_back()
        with page.vault.session() as session:
            assert {name: getattr(session.get(page.Patient, 3), name) for name in names} == VALUES


def test_nothing_new_is_written_under_a_revoked_key(page: Page) -> None:
    patient = page.Patient
    page.refuses(lambda session: session.add(patient(id=3, clinic="acme", **VALUES)))
    page.refuses(lambda session: setattr(session.get(patient, 1), "ssn", "new"))
    page.refuses(lambda session: session.execute(update(patient), [{"id": 1, "ssn": "new"}]))


def test_the_value_is_back_when_the_key_is(page: Page) -> None:
    with page.vault.session() as session:
        patient = session.get(page.Patient, 1)
        assert isinstance(patient.ssn, Sealed)
        page.give_back()
        session.refresh(patient)
        assert {name: getattr(patient, name) for name in VALUES} == VALUES


def test_a_column_without_it_still_raises(page: Page) -> None:
    with page.vault.session() as session:
        patient = session.get(page.Patient, 1)
        with pytest.raises(KeyRevoked):
            _ = patient.strict
        assert session.get(page.Patient, 2).strict == "s"


def test_only_a_revocation_seals(page: Page, tmp_path: Path) -> None:
    page.give_back()
    (tmp_path / "keys.json").rename(tmp_path / "elsewhere")
    with page.vault.session() as session, pytest.raises(KeyUnavailable):
        session.get(page.Patient, 1)
    (tmp_path / "elsewhere").rename(tmp_path / "keys.json")
    page.revoke()
    with page.vault.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE patients SET ssn = email WHERE id = 2")
    with page.vault.session() as session, pytest.raises(TamperedError, match=r"patients\.ssn"):
        session.get(page.Patient, 2)


def test_a_revoked_value_in_another_tenants_row_is_tampering(page: Page) -> None:
    moved = page.stored()[0][0]
    table = page.Patient.__table__
    with page.vault.engine.begin() as connection:
        marker = {"sqlite": "?"}.get(connection.dialect.name, "%s")
        connection.exec_driver_sql(f"UPDATE {table.name} SET ssn = {marker} WHERE id = 2", (moved,))
    with page.vault.session() as session, pytest.raises(TamperedError, match=r"patients\.ssn"):
        session.get(page.Patient, 2)
