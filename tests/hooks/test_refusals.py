"""What only a whole statement shows is refused before it is sent: hidden writes, and sealed bytes in use."""

from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Computed,
    Integer,
    LargeBinary,
    String,
    Table,
    bindparam,
    case,
    cast,
    delete,
    desc,
    event,
    func,
    insert,
    literal,
    null,
    over,
    select,
    tuple_,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.orm import Mapped, aliased, mapped_column

from sqlalchemy_cmk import ConfigurationError, EncryptedType, UnsupportedOperation, tenant_scope
from tests.support.vault import Vault


@pytest.fixture
def patient(vault: Vault) -> Any:
    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40))
        name: Mapped[str | None] = mapped_column(String(40))
        ssn: Mapped[str | None] = mapped_column("social", EncryptedType(String(40)), key="ssn")
        email: Mapped[str | None] = mapped_column(EncryptedType(String(40), deterministic=True))

    Table(
        "visits",
        vault.base.metadata,
        Column("id", Integer, primary_key=True),
        Column("patient_id", Integer),
        Column("reason", String(40)),
    )
    vault.create()
    with vault.session() as session:
        session.add_all([Patient(id=1, clinic="acme", ssn="1"), Patient(id=2, clinic="globex", ssn="2")])
        session.commit()
    return Patient


WRITES: dict[str, Any] = {
    "of an alias": lambda p, v: update(p.__table__.alias()).values(ssn="x"),
    "of SQL to an alias": lambda p, v: update(p.__table__.alias()).values(ssn=func.upper("x")),
    "of an aliased class": lambda p, v: update(aliased(p)).values(ssn="x"),
    "of the tenant to an alias": lambda p, v: update(p.__table__.alias()).values(clinic="globex"),
    "of a join": lambda p, v: update(p.__table__.join(v, v.c.patient_id == p.id)).values({p.ssn: "x"}),
    "of another table too": lambda p, v: (
        update(v).where(v.c.patient_id == p.id).values({v.c.reason: "x", p.__table__.c.ssn: func.upper("x")})
    ),
    "of an INSERT in a CTE": lambda p, v: select(
        insert(p).values(id=9, clinic="globex", ssn="x").returning(p.id).cte()
    ),
    "of an UPDATE in a CTE": lambda p, v: select(update(p).values(ssn="x").returning(p.id).cte()),
    "beside a DELETE": lambda p, v: delete(v).add_cte(update(p).values(ssn="x").cte()),
    "beside a SELECT": lambda p, v: select(p.id).add_cte(update(p).values(ssn="x").cte()),
}


REFUSED = r"not sealed row by row|cannot write to it|SET clause"


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_is_not_sealed_row_by_row_is_refused(vault: Vault, patient: Any, write: str) -> None:
    statement = WRITES[write](patient, vault.base.metadata.tables["visits"])
    before = vault.raw("SELECT * FROM patients ORDER BY id")
    with vault.session() as session, tenant_scope("acme"):
        # SQLite and PostgreSQL have no UPDATE of two tables, and SQLAlchemy says so first.
        with pytest.raises(Exception, match=REFUSED):
            session.execute(statement)
        session.commit()
    assert vault.raw("SELECT * FROM patients ORDER BY id") == before


READS: dict[str, Any] = {
    "ORDER BY a name": lambda p: select(p.id, p.ssn).order_by("ssn"),
    "ORDER BY a name, descending": lambda p: select(p.id, p.email).order_by(desc("email")),
    "ORDER BY a label": lambda p: select(p.id, p.ssn.label("number")).order_by("number"),
    "ORDER BY in a subquery": lambda p: select(select(p.id).order_by(p.ssn).limit(1).subquery()),
    "ORDER BY in a window": lambda p: select(p.id, over(func.row_number(), order_by=p.ssn)),
    "ORDER BY in a window, descending": lambda p: select(
        p.id, over(func.row_number(), order_by=[p.id, desc(p.ssn)])
    ),
    "ORDER BY of a union": lambda p: union_all(select(p.email), select(p.email)).order_by("email"),
    "GROUP BY in a subquery": lambda p: select(select(p.ssn).group_by(p.ssn).subquery()),
    "a maximum": lambda p: select(func.max(p.ssn)),
    "a criterion on lower case": lambda p: select(p.id).where(func.lower(p.email) == "x"),
    "lower case in a CASE": lambda p: select(case((p.id > 1, func.lower(p.email)))),
    "random values in a tuple": lambda p: select(p.id).where(tuple_(p.id, p.ssn).in_([(1, "1")])),
}


PLAIN: dict[str, Any] = {
    "coalesce": lambda p: select(func.coalesce(p.ssn, "PLAIN")),
    "nullif": lambda p: select(func.nullif(p.email, "PLAIN")),
    "greatest": lambda p: select(func.greatest(p.email, literal("PLAIN"))),
    "a CASE that gives either": lambda p: select(case((p.ssn.is_(None), "PLAIN"), else_=p.ssn)),
    "a CASE that gives it else": lambda p: select(case((p.id > 1, p.ssn), else_="PLAIN")),
    "a CASE of values": lambda p: select(case({"PLAIN": 1}, value=p.email)),
    "a literal on the left": lambda p: select(p.id).where(literal("PLAIN") == p.email),
    "a parameter on the left": lambda p: select(p.id).where(bindparam("x", "PLAIN") == p.email),
    "a literal among columns": lambda p: select(p.id).where(literal("PLAIN").in_([p.name, p.email])),
    "a literal between columns": lambda p: select(p.id).where(literal("PLAIN").between(p.email, p.email)),
    "a cast": lambda p: select(p.id).where(cast(p.email, String) == "PLAIN"),
}


@pytest.mark.parametrize("read", PLAIN)
def test_a_plain_value_beside_a_sealed_column_is_not_sent(vault: Vault, patient: Any, read: str) -> None:
    sent: list[Any] = []

    def look(*sees: Any) -> None:
        sent.append(sees)

    event.listen(vault.engine, "after_cursor_execute", look)
    with vault.session() as session, tenant_scope("acme"), pytest.raises(UnsupportedOperation) as caught:
        session.execute(PLAIN[read](patient)).all()
    assert sent == [] and "PLAIN" not in str(caught.value)


@pytest.mark.parametrize("read", READS)
def test_a_use_of_sealed_bytes_is_refused(vault: Vault, patient: Any, read: str) -> None:
    with vault.session() as session, tenant_scope("acme"), pytest.raises(UnsupportedOperation):
        session.execute(READS[read](patient)).all()


def test_what_takes_values_as_they_are_is_let_through(vault: Vault, patient: Any) -> None:
    with vault.session() as session, tenant_scope("acme"):
        mine = patient.clinic == "acme"
        assert session.scalar(select(func.count(patient.email.distinct())).where(mine)) == 0
        assert session.scalar(select(func.count(patient.ssn))) == 2
        assert session.scalar(select(func.coalesce(patient.ssn, patient.ssn)).where(mine)) == "1"
        assert session.scalar(select(case((patient.id > 5, null()), else_=patient.ssn)).where(mine)) == "1"
        raw = type_coerce(patient.ssn, LargeBinary)
        (stored,) = session.scalars(select(raw).where(mine))
        assert session.scalars(select(patient.id).where(raw == stored)).all() == [1]
        assert session.scalars(select(patient.id).order_by("id")).all() == [1, 2]
        renamed = update(patient).values(name="x").returning(patient.id).cte()
        if vault.engine.dialect.name == "postgresql":
            with pytest.raises(UnsupportedOperation):
                session.execute(select(renamed))


COMPUTED: dict[str, dict[str, Any]] = {
    "a server default": {"server_default": "plain"},
    "a SQL default": {"default": func.lower("PLAIN")},
    "a SQL value at every update": {"onupdate": func.lower("PLAIN")},
}


@pytest.mark.parametrize("which", COMPUTED)
def test_a_value_that_the_database_computes_is_refused(vault: Vault, which: str) -> None:
    table = Table(
        "patients",
        vault.base.metadata,
        Column("id", Integer, primary_key=True),
        Column("ssn", EncryptedType(String(40)), **COMPUTED[which]),
    )
    vault.create()
    with vault.engine.begin() as connection, pytest.raises(ConfigurationError, match=r"patients\.ssn"):
        connection.execute(insert(table).values(id=1))
    assert vault.raw("SELECT * FROM patients") == []


def test_a_generated_column_is_refused(vault: Vault) -> None:
    table = Table(
        "patients",
        vault.base.metadata,
        Column("id", Integer, primary_key=True),
        Column("ssn", EncryptedType(String(40)), Computed("lower('PLAIN')")),
    )
    with vault.engine.connect() as connection, pytest.raises(ConfigurationError, match=r"patients\.ssn"):
        connection.execute(insert(table).values(id=1))


def test_null_and_python_defaults_are_written(vault: Vault) -> None:
    made = []

    class Patient(vault.base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic"
        id: Mapped[int] = mapped_column(primary_key=True)
        clinic: Mapped[str] = mapped_column(String(40), default=lambda: made.append("acme") or made[-1])
        ssn: Mapped[str | None] = mapped_column(EncryptedType(String(40)), default="none yet")
        note: Mapped[str | None] = mapped_column(EncryptedType(String(40)), default=lambda: "made")

    vault.create()
    with vault.session() as session:
        session.add_all([Patient(id=1), Patient(id=2, ssn=null())])
        session.commit()
        found = session.execute(select(Patient.ssn, Patient.note, Patient.clinic).order_by(Patient.id)).all()
    assert [tuple(row) for row in found] == [("none yet", "made", "acme"), (None, "made", "acme")]
    assert made == ["acme", "acme"]
