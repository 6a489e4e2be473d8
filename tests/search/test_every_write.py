"""Each way to write a row fills its hidden columns, with the tokens of the value that it writes."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, bindparam, event, func, insert, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import EncryptedType, KeyRevoked, TenantRequired, UnsupportedOperation, tenant_scope
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.search import Exact
from tests.support.upserts import brought, on_conflict, upsert
from tests.support.vault import Vault


class Clinic:
    """Patients with an index on their e-mail addresses, and one of all tenants on their login."""

    def __init__(self, vault: Vault) -> None:
        class Patient(vault.base):
            __tablename__ = "patients"
            __cmk_tenant__ = "clinic"
            id: Mapped[int] = mapped_column(primary_key=True)
            clinic: Mapped[str] = mapped_column(String(40))
            kind: Mapped[str] = mapped_column(String(10), default="out")
            email: Mapped[str | None] = mapped_column(
                "mail", EncryptedType(String(40), index=[Exact()]), key="email"
            )
            login: Mapped[str | None] = mapped_column(
                EncryptedType(String(40), index=[Exact(unique=True, across_tenants=True)])
            )
            __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "out"}  # noqa: RUF012

        class Inpatient(Patient):
            __tablename__ = "inpatients"
            id: Mapped[int] = mapped_column(ForeignKey("patients.id"), primary_key=True)
            ward: Mapped[str | None] = mapped_column(EncryptedType(String(40), index=[Exact()]))
            __mapper_args__ = {"polymorphic_identity": "in"}  # noqa: RUF012

        self.vault, self.Patient, self.Inpatient = vault, Patient, Inpatient
        self.table: Any = Patient.__table__
        vault.create()

    def found(self, email: str, clinic: str = "acme") -> list[int]:
        query = select(self.Patient.id).where(self.Patient.clinic == clinic, self.Patient.email == email)
        with self.vault.session() as session:
            return list(session.scalars(query.order_by(self.Patient.id)))


@pytest.fixture
def clinic(vault: Vault) -> Clinic:
    return Clinic(vault)


def _upsert(of: Clinic, **values: Any) -> Any:
    return upsert(of.vault.engine, of.table).values(**values)


def _add(clinic: Clinic, session: Any) -> None:
    session.add_all([clinic.Patient(id=n, clinic="acme", email=f"{n}@new") for n in (11, 12)])


def _bulk(clinic: Clinic, session: Any) -> None:
    session.execute(
        insert(clinic.Patient), [{"id": n, "clinic": "acme", "email": f"{n}@new"} for n in (11, 12)]
    )


def _bulk_save(clinic: Clinic, session: Any) -> None:
    session.bulk_save_objects([clinic.Patient(id=n, clinic="acme", email=f"{n}@new") for n in (11, 12)])


def _rows(clinic: Clinic, session: Any) -> None:
    rows = [{"id": n, "clinic": "acme", "email": f"{n}@new"} for n in (11, 12)]
    session.execute(insert(clinic.Patient).values(rows))


def _core(clinic: Clinic, session: Any) -> None:
    rows = [{"id": n, "clinic": "acme", "email": f"{n}@new"} for n in (11, 12)]
    session.connection().execute(clinic.table.insert(), rows)


def _single(clinic: Clinic, session: Any) -> None:
    for n in (11, 12):
        session.execute(insert(clinic.table).values(id=n, clinic="acme", email=f"{n}@new"))


def _named(clinic: Clinic, session: Any) -> None:
    statement = insert(clinic.table).values(clinic="acme", email=bindparam("address"))
    session.connection().execute(statement, [{"id": n, "address": f"{n}@new"} for n in (11, 12)])


def _upserts(clinic: Clinic, session: Any) -> None:
    for n in (11, 12):
        session.execute(on_conflict(_upsert(clinic, id=n, clinic="acme", email=f"{n}@new"), email="no"))


def _update(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    for n in (11, 12):
        session.execute(update(clinic.Patient).where(clinic.Patient.id == n).values(email=f"{n}@new"))


def _attribute(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    for n in (11, 12):
        session.get(clinic.Patient, n).email = f"{n}@new"


def _by_key(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    session.execute(update(clinic.Patient), [{"id": n, "email": f"{n}@new"} for n in (11, 12)])


def _update_named(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    statement = update(clinic.table).where(clinic.table.c.id == bindparam("n")).values(email=bindparam("e"))
    session.connection().execute(statement, [{"n": n, "e": f"{n}@new"} for n in (11, 12)])


def _conflicts(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    for n in (11, 12):
        session.execute(on_conflict(_upsert(clinic, id=n, clinic="acme"), email=f"{n}@new"))


def _excluded(clinic: Clinic, session: Any) -> None:
    _old(clinic, session)
    for n in (11, 12):
        statement = _upsert(clinic, id=n, clinic="acme", email=f"{n}@new")
        session.execute(on_conflict(statement, email=brought(statement).email))


def _moved(clinic: Clinic, session: Any) -> None:
    session.add_all([clinic.Patient(id=n, clinic="globex", email=f"{n}@new") for n in (11, 12)])
    session.flush()
    for n in (11, 12):
        session.get(clinic.Patient, n).clinic = "acme"


def _old(clinic: Clinic, session: Any) -> None:
    session.add_all([clinic.Patient(id=n, clinic="acme", email=f"{n}@old") for n in (11, 12)])
    session.flush()


WAYS = [
    *(_add, _bulk, _bulk_save, _rows, _core, _single, _named, _upserts),
    *(_update, _attribute, _by_key, _update_named, _conflicts, _excluded, _moved),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_row_is_found_by_what_was_written_last(clinic: Clinic, way: Callable[[Clinic, Any], None]) -> None:
    with clinic.vault.session() as session:
        way(clinic, session)
        session.commit()
    assert (clinic.found("11@new"), clinic.found("12@new")) == ([11], [12])
    assert clinic.found("11@old") == clinic.found("11@new", "globex") == []


def test_a_value_that_becomes_null_has_no_token(clinic: Clinic) -> None:
    with clinic.vault.session() as session:
        _old(clinic, session)
        session.get(clinic.Patient, 11).email = None
        session.flush()
        session.execute(update(clinic.Patient).where(clinic.Patient.id == 12).values(email=null()))
        session.commit()
    assert clinic.vault.raw("SELECT mail_exact FROM patients") == [(None,), (None,)]
    assert clinic.found("11@old") == []


def test_tokens_lie_beside_their_column_under_joined_inheritance(clinic: Clinic) -> None:
    with clinic.vault.session() as session:
        session.add(clinic.Inpatient(id=1, clinic="acme", email="a@b", ward="north"))
        session.commit()
        query = select(clinic.Inpatient).where(clinic.Inpatient.clinic == "acme")
        assert session.scalars(query.where(clinic.Inpatient.ward == "north")).one().email == "a@b"
        assert session.scalars(query.where(clinic.Inpatient.email == "a@b")).one().ward == "north"
        session.get_one(clinic.Inpatient, 1).ward = "south"
        session.commit()
        assert session.scalars(query.where(clinic.Inpatient.ward == "north")).all() == []


def test_tokens_differ_between_tenants_columns_and_tables(clinic: Clinic) -> None:
    with clinic.vault.session() as session:
        session.add(clinic.Patient(id=1, clinic="acme", email="same"))
        session.add(clinic.Patient(id=2, clinic="globex", email="same"))
        session.add(clinic.Inpatient(id=3, clinic="acme", login="same", ward="same"))
        session.commit()
    tokens = clinic.vault.raw("SELECT mail_exact FROM patients WHERE mail_exact IS NOT NULL")
    tokens += clinic.vault.raw("SELECT login_exact FROM patients WHERE login_exact IS NOT NULL")
    tokens += clinic.vault.raw("SELECT ward_exact FROM inpatients")
    assert len({bytes(one) for (one,) in tokens}) == 4
    assert all(len(one) == 16 and b"same" not in bytes(one) for (one,) in tokens)


def test_a_value_is_unique_and_found_across_tenants_without_a_scope(clinic: Clinic) -> None:
    Patient = clinic.Patient
    with clinic.vault.session() as session:
        session.add(Patient(id=1, clinic="acme", login="ann@example.org"))
        session.commit()
        session.add(Patient(id=2, clinic="globex", login="ann@example.org"))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        found = session.scalars(select(Patient).where(Patient.login == "ann@example.org")).one()
        assert (found.clinic, found.login) == ("acme", "ann@example.org")
    assert clinic.vault.owner(clinic.vault.raw("SELECT login FROM patients")[0][0]) == "acme"


def test_questions_about_a_tenants_index_need_its_tenant(clinic: Clinic) -> None:
    with clinic.vault.session() as session, pytest.raises(TenantRequired):
        session.scalars(select(clinic.Patient.id).where(clinic.Patient.email == "a@b")).all()
    with clinic.vault.session() as session, tenant_scope("acme"):
        assert session.scalars(select(clinic.Patient.id).where(clinic.Patient.email == "a@b")).all() == []


def test_a_question_makes_no_tenant_and_no_key(clinic: Clinic) -> None:
    assert clinic.found("a@b", "nobody") == []
    assert "nobody" not in {line.tenant for line in clinic.vault.keyring.status()}


def test_a_revoked_tenant_cannot_be_searched(clinic: Clinic) -> None:
    clinic.vault.keyring.assign("acme", "local:theirs")
    with clinic.vault.session() as session:
        _old(clinic, session)
        session.commit()
    clinic.vault.provider.disable("local:theirs")
    clinic.vault.restart()
    with pytest.raises(KeyRevoked):
        clinic.found("11@old")


def test_a_token_is_not_written_past_the_hooks(clinic: Clinic) -> None:
    attempts = [
        insert(clinic.table).values(id=1, clinic="acme", mail_exact="x"),
        insert(clinic.table).values([{"id": 1, "clinic": "acme", "mail_exact": "x"}]),
        update(clinic.table).where(clinic.table.c.clinic == "acme").values(mail_exact="x"),
    ]
    for statement in attempts:
        with clinic.vault.session() as session, pytest.raises(UnsupportedOperation):
            session.execute(statement)


def test_sql_that_computes_a_value_is_refused(clinic: Clinic) -> None:
    statement = update(clinic.Patient).where(clinic.Patient.clinic == "acme").values(email=func.lower("X"))
    with clinic.vault.session() as session, pytest.raises(UnsupportedOperation):
        session.execute(statement)


def test_a_flush_opens_the_keys_of_tokens_before_its_first_statement(clinic: Clinic) -> None:
    made: list[tuple[str, Purpose]] = []
    keyring = clinic.vault.keyring
    with clinic.vault.session() as session:
        session.add(clinic.Patient(id=1, clinic="acme", email="a@b", login="ann"))

        @event.listens_for(clinic.vault.engine, "before_cursor_execute")
        def first(*_: Any) -> None:
            made.extend(
                (tenant, Purpose.SEARCH)
                for tenant in ("acme", "")
                if keyring.keys.opened.fresh_active(tenant, Purpose.SEARCH) is not None
            )

        session.flush()
    assert made[:2] == [("acme", Purpose.SEARCH), ("", Purpose.SEARCH)]
