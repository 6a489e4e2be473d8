"""Extended statistics (``CREATE STATISTICS``) over a column, as statements that make them again."""

from __future__ import annotations

from sqlalchemy import text

from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.columns import literal
from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.dependents import Dependents
from sqlalchemy_cmk.alembic.conversion.catalogue.structure import Subject

_STATISTICS = text("""
    SELECT format('%I.%I', n.nspname, s.stxname) AS name, pg_get_statisticsobjdef(s.oid) AS definition,
        to_jsonb(s) ->> 'stxexprs' IS NOT NULL AS computes,
        nullif(CAST(to_jsonb(s) ->> 'stxstattarget' AS integer), -1) AS target,
        obj_description(s.oid, 'pg_statistic_ext') AS comment,
        CASE WHEN pg_get_userbyid(s.stxowner) <> current_user
             THEN quote_ident(pg_get_userbyid(s.stxowner)) END AS owner
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
    WHERE s.oid = ANY(CAST(:statistics AS oid[])) ORDER BY name
""")


def statistics_restored(subject: Subject, dependents: Dependents) -> tuple[list[str], list[str]]:
    """Return the statements that make them again, and those that mark them as they were."""
    made, marks = list[str](), list[str]()
    for row in subject.connection.execute(_STATISTICS, {"statistics": dependents.statistics}):
        if row.computes:
            subject.obstacles.append(f"the statistics {row.name} compute with values")
        made.append(row.definition)
        if row.target is not None:
            marks.append(f"ALTER STATISTICS {row.name} SET STATISTICS {row.target}")
        if row.comment is not None:
            marks.append(f"COMMENT ON STATISTICS {row.name} IS {literal(row.comment)}")
        if row.owner is not None:
            marks.append(f"ALTER STATISTICS {row.name} OWNER TO {row.owner}")
    return made, marks
