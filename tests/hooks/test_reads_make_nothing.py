"""Reading makes no tenant and no key, whatever name it is asked about."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import String, bindparam, delete, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from sqlalchemy_cmk import EncryptedType, TenantMismatch, TenantRequired, tenant_scope
from sqlalchemy_cmk.keys.model import Purpose
from tests.support.vault import Vault

Read = Callable[[Session, Any, str], Any]


@pytest.fixture
def patient(vault: Vault) -> Iterator[Any]:
    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        ward: Mapped[str | None] = mapped_column(String(40))
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)))
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))

    vault.create()
    with vault.session() as session:
        session.add(Patient(id=1, clinic="acme", ssn="1", email="e1"))
        session.commit()
    vault.restart()
    yield Patient


def made(vault: Vault) -> tuple[list[Any], list[Any]]:
    return (
        vault.raw("SELECT tenant FROM cmk_tenants ORDER BY tenant"),
        vault.raw("SELECT tenant, purpose FROM cmk_deks ORDER BY tenant, purpose"),
    )


def of_alias(session: Session, alias: Any, tenant: str) -> Any:
    return session.scalars(select(alias).where(alias.clinic == tenant, alias.email == "x")).all()


READS: dict[str, Read] = {
    "equality": lambda s, p, t: s.scalars(select(p).where(p.clinic == t, p.email == "x")).all(),
    "inequality": lambda s, p, t: s.scalars(select(p).where(p.clinic == t, p.email != "x")).all(),
    "in": lambda s, p, t: s.scalars(select(p).where(p.clinic == t, p.email.in_(["x", "y"]))).all(),
    "not in": lambda s, p, t: s.scalars(select(p).where(p.clinic == t, p.email.not_in(["x"]))).all(),
    "or": lambda s, p, t: s.scalars(select(p.id).where(p.clinic == t, or_(p.email == "x", p.id == 1))).all(),
    "tuple": lambda s, p, t: s.execute(
        select(p.id).where(p.clinic == t, tuple_(p.id, p.email).in_([(1, "x")]))
    ).all(),
    "exists": lambda s, p, t: s.scalar(select(exists().where(p.clinic == t, p.email == "x"))),
    "count": lambda s, p, t: s.scalar(
        select(func.count()).select_from(p).where(p.clinic == t, p.email == "x")
    ),
    "alias": lambda s, p, t: of_alias(s, aliased(p), t),
    "given later": lambda s, p, t: s.execute(
        select(p.id).where(p.clinic == bindparam("t"), p.email == bindparam("e")), {"t": t, "e": "x"}
    ).all(),
    "filter_by": lambda s, p, t: s.query(p).filter_by(clinic=t, email="x").all(),
    "all columns": lambda s, p, t: s.execute(select(p.__table__).where(p.clinic == t)).all(),
    "get": lambda s, p, t: s.get(p, 9),
    "delete": lambda s, p, t: s.execute(delete(p).where(p.clinic == t, p.email == "x")),
    "update of a plain column": lambda s, p, t: s.execute(
        update(p).where(p.clinic == t, p.email == "x").values(ward="w")
    ),
    "sealed NULLs": lambda s, p, t: s.execute(insert(p).values(id=8, clinic=t, ward="w")),
}


@pytest.mark.parametrize("scope", [True, False], ids=["in its scope", "without a scope"])
@pytest.mark.parametrize("name", READS)
def test_a_read_about_an_invented_tenant_makes_none(
    vault: Vault, patient: Any, name: str, scope: bool
) -> None:
    before = made(vault)
    with vault.session() as session:
        if scope:
            with tenant_scope("amce"):
                READS[name](session, patient, "amce")
        else:
            with suppress(TenantRequired):  # the comparison in a subquery does not name the tenant
                READS[name](session, patient, "amce")
        session.rollback()
    assert made(vault) == before and {line.tenant for line in vault.keyring.status()} == {"acme"}


def test_a_scope_with_an_invented_name_makes_no_tenant_and_opens_nothing(vault: Vault, patient: Any) -> None:
    before = made(vault)
    with vault.session() as session, tenant_scope("amce"):
        assert session.scalars(select(patient).where(patient.email == "e1")).all() == []
        with pytest.raises(TenantMismatch):
            session.scalars(select(patient)).all()
        with pytest.raises(TenantMismatch):
            session.scalars(select(patient.ssn)).all()
    assert made(vault) == before


def test_reads_of_the_keyring_about_an_invented_tenant_make_none(vault: Vault, patient: Any) -> None:
    before = made(vault)
    assert vault.keyring.existing("amce", Purpose.DETERMINISTIC) is None
    assert vault.keyring.dek(b"nonsense") is None
    vault.keyring.forget("amce")
    vault.keyring.notice_rotations()
    vault.keyring.status()
    assert list(vault.keyring.kek_uses(["amce"])) == []
    assert made(vault) == before


def test_a_row_without_a_tenant_makes_none(vault: Vault, patient: Any) -> None:
    before = made(vault)
    with vault.session() as session:
        session.add(patient(id=9, ssn="9"))
        with pytest.raises(TenantRequired):
            session.flush()
    assert made(vault) == before
