"""Mutable tracking and ``on_revoked="seal"`` on one column: tracked when it opens, else ``Sealed``."""

from typing import Any

import pytest
from sqlalchemy import JSON, String, select
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import Mapped, configure_mappers, mapped_column, relationship

from sqlalchemy_cmk import EncryptedType, Sealed
from tests.support.vault import Vault


@pytest.fixture
def patient(vault: Vault) -> Any:
    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        room: Mapped[str | None] = mapped_column(String(40))
        history: Mapped[Any] = mapped_column(MutableDict.as_mutable(EncryptedType(JSON, on_revoked="seal")))
        visits: Mapped[Any] = mapped_column(MutableList.as_mutable(EncryptedType(JSON, on_revoked="seal")))

    vault.create()
    for clinic in ("acme", "globex"):
        vault.keyring.assign(clinic, f"local:{clinic}")
    vault.keyring.warm(["acme", "globex"], new=True)
    with vault.session() as session:
        for number, clinic in enumerate(("acme", "globex"), 1):
            session.add(Patient(id=number, clinic=clinic, history={"visits": number}, visits=[number]))
        session.commit()
    vault.provider.disable("local:acme")
    vault.keyring.forget()
    return Patient


def test_a_list_renders_and_what_opens_is_tracked(vault: Vault, patient: Any) -> None:
    with vault.session() as session:
        closed, opened = session.scalars(select(patient).order_by(patient.id)).all()
        assert isinstance(closed.history, Sealed) and isinstance(closed.visits, Sealed)
        opened.history["visits"] = 9
        opened.visits.append(9)
        session.commit()
        assert (opened.history, opened.visits) == ({"visits": 9}, [2, 9])


def test_a_refresh_gives_a_sealed_value_and_a_flush_keeps_its_bytes(vault: Vault, patient: Any) -> None:
    stored = "SELECT history, visits FROM patients WHERE id = 1"
    before = vault.raw(stored)
    with vault.session() as session:
        closed = session.get_one(patient, 1)
        closed.history = closed.history
        closed.room = "2"
        session.commit()
        session.refresh(closed)
        assert isinstance(closed.history, Sealed) and closed.room == "2"
    assert vault.raw(stored) == before
    vault.provider.enable("local:acme")
    vault.keyring.forget()
    with vault.session() as session:
        assert session.get_one(patient, 1).history == {"visits": 1}


def test_classes_may_name_each_other_before_both_are_declared(vault: Vault) -> None:
    class Visit(vault.base):
        __tablename__ = "visits"
        id: Mapped[int] = mapped_column(primary_key=True)
        note: Mapped[Any] = mapped_column(EncryptedType(JSON, on_revoked="seal"))
        bills: Mapped[list["Bill"]] = relationship("Bill", primaryjoin="Bill.id == foreign(Visit.id)")

    class Bill(vault.base):
        __tablename__ = "bills"
        id: Mapped[int] = mapped_column(primary_key=True)

    configure_mappers()
    assert Visit.bills.property.mapper.class_ is Bill
