"""The ways in which SQLAlchemy hands out values of a column, each as a function of a session."""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import (
    Integer,
    String,
    bindparam,
    case,
    column,
    func,
    insert,
    lambda_stmt,
    literal_column,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.orm import (
    Bundle,
    Session,
    aliased,
    column_property,
    contains_eager,
    defer,
    joinedload,
    load_only,
    selectinload,
    subqueryload,
    undefer,
)

Way = Callable[[Session, Any], Iterable[Any]]

# What a way needs besides the patients themselves.
POSTGRESQL = "postgresql"
RETURNING = "returning"

_WAYS: dict[str, tuple[Way, str | None]] = {}


def way(name: str, needs: str | None = None) -> Callable[[Way], Way]:
    def add(function: Way) -> Way:
        _WAYS[name] = function, needs
        return function

    return add


def ways() -> dict[str, tuple[Way, str | None]]:
    return dict(_WAYS)


@way("entities")
def _(s: Session, m: Any) -> Any:
    return [p.ssn for p in s.scalars(select(m.Patient))]


@way("legacy query")
def _(s: Session, m: Any) -> Any:
    return [p.ssn for p in s.query(m.Patient).all()]


@way("legacy query of columns")
def _(s: Session, m: Any) -> Any:
    return [row.ssn for row in s.query(m.Patient.ssn, m.Patient.clinic_id)]


@way("Session.get")
def _(s: Session, m: Any) -> Any:
    return [p.ssn for key in (1, 2) if (p := s.get(m.Patient, key)) is not None]


@way("columns with the tenant")
def _(s: Session, m: Any) -> Any:
    return [row[0] for row in s.execute(select(m.Patient.ssn, m.Patient.clinic_id))]


@way("columns without the tenant")
def _(s: Session, m: Any) -> Any:
    return s.scalars(select(m.Patient.ssn)).all()


@way("columns, the tenant in the criteria")
def _(s: Session, m: Any) -> Any:
    return s.scalars(select(m.Patient.ssn).where(m.Patient.clinic_id == "acme")).all()


@way("columns, the tenant in an OR")
def _(s: Session, m: Any) -> Any:
    either = (m.Patient.clinic_id == "acme") | (m.Patient.id > 0)
    return s.scalars(select(m.Patient.ssn).where(either)).all()


@way("mappings")
def _(s: Session, m: Any) -> Any:
    return [row["ssn"] for row in s.execute(select(m.Patient.clinic_id, m.Patient.ssn)).mappings()]


@way("a label")
def _(s: Session, m: Any) -> Any:
    return [row.number for row in s.execute(select(m.Patient.clinic_id, m.Patient.ssn.label("number")))]


@way("a bundle")
def _(s: Session, m: Any) -> Any:
    return [row.b.ssn for row in s.execute(select(Bundle("b", m.Patient.ssn, m.Patient.clinic_id)))]


@way("an alias")
def _(s: Session, m: Any) -> Any:
    other = aliased(m.Patient)
    return [p.ssn for p in s.scalars(select(other))]


@way("two aliases of which one has its tenant")
def _(s: Session, m: Any) -> Any:
    one, two = aliased(m.Patient), aliased(m.Patient)
    return [row[0] for row in s.execute(select(one.ssn, two.clinic_id).where(one.id == two.id))]


@way("a subquery")
def _(s: Session, m: Any) -> Any:
    inner = select(m.Patient.ssn, m.Patient.clinic_id).subquery()
    return [row[0] for row in s.execute(select(inner.c.ssn, inner.c.clinic_id))]


@way("a subquery without the tenant")
def _(s: Session, m: Any) -> Any:
    inner = select(m.Patient.ssn).subquery()
    return s.scalars(select(inner.c.ssn)).all()


@way("a scalar subquery")
def _(s: Session, m: Any) -> Any:
    inner = select(m.Patient.ssn).where(m.Patient.id == 1).scalar_subquery()
    return s.scalars(select(inner)).all()


@way("a CTE")
def _(s: Session, m: Any) -> Any:
    inner = select(m.Patient.ssn, m.Patient.clinic_id).cte()
    return [row[0] for row in s.execute(select(inner.c.ssn, inner.c.clinic_id))]


@way("an entity of a CTE")
def _(s: Session, m: Any) -> Any:
    inner = aliased(m.Patient, select(m.Patient).cte())
    return [p.ssn for p in s.scalars(select(inner))]


@way("a union")
def _(s: Session, m: Any) -> Any:
    one = select(m.Patient.ssn, m.Patient.clinic_id).where(m.Patient.id == 1)
    two = select(m.Patient.ssn, m.Patient.clinic_id).where(m.Patient.id == 2)
    return [row[0] for row in s.execute(union_all(one, two))]


@way("a union in another order")
def _(s: Session, m: Any) -> Any:
    one = select(m.Patient.clinic_id, m.Patient.ssn).where(m.Patient.id == 1)
    two = select(m.Patient.clinic_id, m.Patient.ssn).where(m.Patient.id == 2)
    return [row[1] for row in s.execute(union_all(one, two))]


@way("entities from a union")
def _(s: Session, m: Any) -> Any:
    both = union_all(select(m.Patient).where(m.Patient.id == 1), select(m.Patient).where(m.Patient.id == 2))
    return [p.ssn for p in s.scalars(select(m.Patient).from_statement(both))]


@way("from_statement of text")
def _(s: Session, m: Any) -> Any:
    rows = text("SELECT id, clinic_id, ssn, name, note FROM patients")
    return [p.ssn for p in s.scalars(select(m.Patient).from_statement(rows))]


@way("from_statement of text in another order")
def _(s: Session, m: Any) -> Any:
    rows = text("SELECT note, ssn, name, clinic_id, id FROM patients")
    return [p.ssn for p in s.scalars(select(m.Patient).from_statement(rows))]


@way("from_statement of text without the tenant")
def _(s: Session, m: Any) -> Any:
    rows = text("SELECT id, ssn, name, note FROM patients")
    found = s.scalars(select(m.Patient).from_statement(rows)).all()
    return [p.__dict__["ssn"] for p in found]


@way("text with typed columns by name")
def _(s: Session, m: Any) -> Any:
    kind = m.Patient.__table__.c.ssn.type
    rows = text("SELECT clinic_id, ssn, id FROM patients").columns(ssn=kind)
    return [row.ssn for row in s.execute(rows)]


@way("text with the table's columns")
def _(s: Session, m: Any) -> Any:
    c = m.Patient.__table__.c
    rows = text("SELECT clinic_id, ssn FROM patients").columns(c.clinic_id, c.ssn)
    return [row.ssn for row in s.execute(rows)]


@way("text with the table's columns in another order, by name")
def _(s: Session, m: Any) -> Any:
    c = m.Patient.__table__.c
    rows = text("SELECT ssn, id, clinic_id FROM patients").columns(ssn=c.ssn.type, clinic_id=c.clinic_id.type)
    return [row.ssn for row in s.execute(rows)]


@way("text beside a column")
def _(s: Session, m: Any) -> Any:
    query = select(text("id, clinic_id"), m.Patient.__table__.c.ssn)
    return [row[-1] for row in s.connection().execute(query)]


@way("a literal column beside a column")
def _(s: Session, m: Any) -> Any:
    return [row[-1] for row in s.execute(select(literal_column("clinic_id"), m.Patient.ssn))]


@way("a function of a sealed type")
def _(s: Session, m: Any) -> Any:
    kind = m.Patient.__table__.c.ssn.type
    return s.scalars(select(func.coalesce(m.Patient.ssn, m.Patient.ssn, type_=kind))).all()


@way("coalesce")
def _(s: Session, m: Any) -> Any:
    return [
        row[0] for row in s.execute(select(func.coalesce(m.Patient.ssn, m.Patient.ssn), m.Patient.clinic_id))
    ]


@way("CASE")
def _(s: Session, m: Any) -> Any:
    chosen = case((m.Patient.id > 0, m.Patient.ssn))
    return [row[0] for row in s.execute(select(chosen, m.Patient.clinic_id))]


@way("min")
def _(s: Session, m: Any) -> Any:
    return s.scalars(select(func.min(m.Patient.ssn))).all()


@way("an unknown function")
def _(s: Session, m: Any) -> Any:
    return s.scalars(select(func.hex(m.Patient.ssn))).all()


@way("a window function")
def _(s: Session, m: Any) -> Any:
    return s.scalars(select(func.lag(m.Patient.ssn).over(order_by=m.Patient.id))).all()


@way("a window function of a sealed type")
def _(s: Session, m: Any) -> Any:
    kind = m.Patient.__table__.c.ssn.type
    first = func.first_value(m.Patient.ssn, type_=kind).over(order_by=m.Patient.id)
    return s.scalars(select(first)).all()


@way("a JSON array")
def _(s: Session, m: Any) -> Any:
    return s.scalars(select(func.json_group_array(m.Patient.ssn))).all()


@way("deferred columns")
def _(s: Session, m: Any) -> Any:
    found = s.scalars(select(m.Patient).options(defer(m.Patient.ssn))).all()
    return [p.ssn for p in found]


@way("deferred columns, undeferred")
def _(s: Session, m: Any) -> Any:
    found = s.scalars(select(m.Patient).options(undefer(m.Patient.note))).all()
    return [p.ssn for p in found]


@way("load_only without the tenant")
def _(s: Session, m: Any) -> Any:
    return [p.ssn for p in s.scalars(select(m.Patient).options(load_only(m.Patient.ssn)))]


@way("deferred columns, the tenant deferred as well")
def _(s: Session, m: Any) -> Any:
    found = s.scalars(select(m.Patient).options(load_only(m.Patient.id))).all()
    return [p.ssn for p in found]


@way("refreshed columns")
def _(s: Session, m: Any) -> Any:
    found = s.scalars(select(m.Patient).options(load_only(m.Patient.id, m.Patient.clinic_id))).all()
    for p in found:
        s.refresh(p, ["ssn"])
    return [p.ssn for p in found]


@way("expired objects")
def _(s: Session, m: Any) -> Any:
    found = s.scalars(select(m.Patient)).all()
    s.expire_all()
    return [p.ssn for p in found]


@way("a lazy load")
def _(s: Session, m: Any) -> Any:
    return [v.patient.ssn for v in s.scalars(select(m.Visit))]


@way("joinedload")
def _(s: Session, m: Any) -> Any:
    return [v.patient.ssn for v in s.scalars(select(m.Visit).options(joinedload(m.Visit.patient)))]


@way("selectinload")
def _(s: Session, m: Any) -> Any:
    return [v.patient.ssn for v in s.scalars(select(m.Visit).options(selectinload(m.Visit.patient)))]


@way("subqueryload")
def _(s: Session, m: Any) -> Any:
    return [v.patient.ssn for v in s.scalars(select(m.Visit).options(subqueryload(m.Visit.patient)))]


@way("contains_eager")
def _(s: Session, m: Any) -> Any:
    query = select(m.Visit).join(m.Visit.patient).options(contains_eager(m.Visit.patient))
    query = query.options(defer(m.Visit.patient_ssn))
    return [v.patient.ssn for v in s.scalars(query)]


@way("an outer join")
def _(s: Session, m: Any) -> Any:
    query = select(m.Patient).outerjoin(m.Visit, m.Visit.patient_id == m.Patient.id)
    return [p.ssn for p in s.scalars(query)]


@way("yield_per")
def _(s: Session, m: Any) -> Any:
    return [p.ssn for p in s.scalars(select(m.Patient).execution_options(yield_per=1))]


@way("partitions")
def _(s: Session, m: Any) -> Any:
    query = select(m.Patient.ssn, m.Patient.clinic_id).execution_options(yield_per=1)
    return [row[0] for part in s.execute(query).partitions() for row in part]


@way("stream_results")
def _(s: Session, m: Any) -> Any:
    query = select(m.Patient.ssn, m.Patient.clinic_id)
    return [row[0] for row in s.connection(execution_options={"stream_results": True}).execute(query)]


@way("fetchone")
def _(s: Session, m: Any) -> Any:
    result = s.connection().execute(select(m.Patient.ssn, m.Patient.clinic_id))
    return [row[0] for row in iter(result.fetchone, None)]


@way("fetchmany")
def _(s: Session, m: Any) -> Any:
    result = s.connection().execute(select(m.Patient.clinic_id, m.Patient.ssn))
    return [row[1] for row in (*result.fetchmany(1), *result.fetchmany(5))]


@way("first")
def _(s: Session, m: Any) -> Any:
    row = s.execute(select(m.Patient.ssn, m.Patient.clinic_id)).first()
    return [] if row is None else [row[0]]


@way("columns of a result in another order")
def _(s: Session, m: Any) -> Any:
    return [row[0] for row in s.execute(select(m.Patient.clinic_id, m.Patient.ssn)).columns("ssn")]


@way("unique rows")
def _(s: Session, m: Any) -> Any:
    return [row[0] for row in s.execute(select(m.Patient.ssn, m.Patient.clinic_id)).unique()]


@way("a frozen result")
def _(s: Session, m: Any) -> Any:
    frozen = s.execute(select(m.Patient.ssn, m.Patient.clinic_id)).freeze()
    return [row[0] for row in (*frozen(), *frozen())]


@way("merged results")
def _(s: Session, m: Any) -> Any:
    query = select(m.Patient.ssn, m.Patient.clinic_id)
    return [row[0] for row in s.execute(query).merge(s.execute(query))]


@way("spliced results")
def _(s: Session, m: Any) -> Any:
    c = m.Patient.__table__.c
    one = s.connection().execute(select(c.clinic_id, c.ssn).order_by(c.id))
    two = s.connection().execute(select(c.id).order_by(c.id))
    return [row[1] for row in one.splice_horizontally(two)]


@way("Core")
def _(s: Session, m: Any) -> Any:
    return [row.ssn for row in s.connection().execute(select(m.Patient.__table__))]


@way("a lambda statement")
def _(s: Session, m: Any) -> Any:
    kind = m.Patient
    return [p.ssn for p in s.scalars(lambda_stmt(lambda: select(kind)))]


@way("a bound parameter beside it")
def _(s: Session, m: Any) -> Any:
    query = select(m.Patient.ssn, m.Patient.clinic_id, bindparam("x", type_=Integer))
    return [row[0] for row in s.execute(query, {"x": 1})]


@way("a lightweight column")
def _(s: Session, m: Any) -> Any:
    kind = m.Patient.__table__.c.ssn.type
    return s.scalars(select(column("ssn", kind)).select_from(text("patients"))).all()


@way("exec_driver_sql")
def _(s: Session, m: Any) -> Any:
    rows = s.connection().exec_driver_sql("SELECT ssn FROM patients").all()
    assert all(isinstance(row[0], bytes) for row in rows)  # what is stored, not opened
    return []


@way("column_property")
def _(s: Session, m: Any) -> Any:
    return [v.patient_ssn for v in s.scalars(select(m.Visit))]


@way("INSERT RETURNING", RETURNING)
def _(s: Session, m: Any) -> Any:
    row = {"id": 99, "clinic_id": "acme", "ssn": "ACME-9"}
    return s.scalars(insert(m.Patient).returning(m.Patient.ssn), [row]).all()


@way("UPDATE RETURNING", RETURNING)
def _(s: Session, m: Any) -> Any:
    query = update(m.Patient).values(name="x").returning(m.Patient.ssn)
    return s.scalars(query.execution_options(synchronize_session=False)).all()


@way("UPDATE RETURNING with the tenant", RETURNING)
def _(s: Session, m: Any) -> Any:
    query = update(m.Patient).values(name="x").returning(m.Patient.clinic_id, m.Patient.ssn)
    return [row[1] for row in s.execute(query.execution_options(synchronize_session=False))]


@way("return_defaults", RETURNING)
def _(s: Session, m: Any) -> Any:
    table = m.Patient.__table__
    result = s.connection().execute(update(table).values(name="x").return_defaults(table.c.ssn))
    return [row.ssn for row in result.returned_defaults_rows or ()]


@way("array_agg", POSTGRESQL)
def _(s: Session, m: Any) -> Any:
    return [one for row in s.scalars(select(func.array_agg(m.Patient.ssn))) for one in row]


@way("ARRAY", POSTGRESQL)
def _(s: Session, m: Any) -> Any:
    from sqlalchemy.dialects.postgresql import array

    return [one for row in s.scalars(select(array([m.Patient.ssn]))) for one in row]


@way("json_agg", POSTGRESQL)
def _(s: Session, m: Any) -> Any:
    return s.scalars(select(func.json_agg(m.Patient.ssn))).all()


@way("a lateral subquery", POSTGRESQL)
def _(s: Session, m: Any) -> Any:
    patient, visit = m.Patient.__table__, m.Visit.__table__
    inner = select(patient.c.ssn, patient.c.clinic_id).where(patient.c.id == visit.c.patient_id).lateral()
    query = select(inner.c.ssn, inner.c.clinic_id).select_from(visit.join(inner, true()))
    return [row[0] for row in s.connection().execute(query)]


def declare(base: Any, sealed: Callable[[], Any]) -> Any:
    """The models that the ways read, on a declarative base."""
    from sqlalchemy import ForeignKey
    from sqlalchemy.orm import deferred, mapped_column, relationship

    class Patient(base):
        __tablename__ = "patients"
        __cmk_tenant__ = "clinic_id"
        id = mapped_column(Integer, primary_key=True, autoincrement=False)
        clinic_id = mapped_column(String(20))
        ssn = mapped_column(sealed(), nullable=True)
        name = mapped_column(String(20), nullable=True)
        note = deferred(mapped_column(String(20), nullable=True))

    class Visit(base):
        __tablename__ = "visits"
        id = mapped_column(Integer, primary_key=True, autoincrement=False)
        patient_id = mapped_column(ForeignKey("patients.id"))
        patient = relationship(Patient)

    ssn = select(Patient.ssn).where(Patient.id == Visit.patient_id).scalar_subquery()
    Visit.patient_ssn = column_property(ssn)
    return type("Models", (), {"Patient": Patient, "Visit": Visit})
