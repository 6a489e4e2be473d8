"""What depends on a column by ``pg_depend``: indexes, keys and statistics come back, the rest is named."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, text

from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.columns import Columns
from sqlalchemy_cmk.alembic.conversion.catalogue.structure import Subject

# What depends on the column, and on the constraints and indexes that go with it.
_DEPENDENTS = text("""
    WITH RECURSIVE gone(class, object, part) AS (
        SELECT CAST(CAST('pg_class' AS regclass) AS oid), a.attrelid, CAST(a.attnum AS integer)
        FROM pg_attribute a WHERE a.attrelid = ANY(CAST(:relations AS oid[])) AND a.attname = :column
        UNION
        SELECT d.classid, d.objid, d.objsubid FROM gone g JOIN pg_depend d
            ON d.refclassid = g.class AND d.refobjid = g.object AND (g.part = 0 OR d.refobjsubid = g.part)
        WHERE g.part > 0 OR EXISTS (
            SELECT FROM pg_constraint k WHERE g.class = CAST('pg_constraint' AS regclass) AND k.oid = g.object
                AND k.contype IN ('p', 'u', 'x'))
            OR EXISTS (
            SELECT FROM pg_class c WHERE g.class = CAST('pg_class' AS regclass) AND c.oid = g.object
                AND c.relkind IN ('i', 'I')))
    SELECT CAST(CAST(g.class AS regclass) AS text) AS class, g.object, g.part,
        pg_describe_object(g.class, g.object, g.part) AS description,
        CAST(c.relkind AS text) AS kind, CAST(k.contype AS text) AS constraint_type,
        k.contype = 'p' AND a.attnum = ANY(k.conkey) AS is_primary,
        k.conrelid = ANY(CAST(:relations AS oid[])) AS is_ours,
        CASE WHEN r.rulename = '_RETURN'
             THEN pg_describe_object(CAST('pg_class' AS regclass), r.ev_class, 0) END AS view,
        d.adrelid = ANY(CAST(:relations AS oid[])) AND da.attname = :column AS is_default,
        coalesce(t.tgisinternal, false) AS is_internal
    FROM gone g LEFT JOIN pg_class c ON g.class = CAST('pg_class' AS regclass) AND c.oid = g.object
        LEFT JOIN pg_constraint k ON g.class = CAST('pg_constraint' AS regclass) AND k.oid = g.object
        LEFT JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attname = :column
        LEFT JOIN pg_rewrite r ON g.class = CAST('pg_rewrite' AS regclass) AND r.oid = g.object
        LEFT JOIN pg_attrdef d ON g.class = CAST('pg_attrdef' AS regclass) AND d.oid = g.object
        LEFT JOIN pg_attribute da ON da.attrelid = d.adrelid AND da.attnum = d.adnum
        LEFT JOIN pg_trigger t ON g.class = CAST('pg_trigger' AS regclass) AND t.oid = g.object
    WHERE NOT (g.class = CAST('pg_class' AS regclass) AND g.object = ANY(CAST(:relations AS oid[]))
        AND g.part > 0 AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = g.object
                                   AND o.attnum = g.part AND o.attname = :column))
    ORDER BY description
""")


class Dependents:
    """What depends on a column.

    Args:
        subject: the column; gets what stands in the way.
        columns: the column in the table and its partitions.

    Attributes:
        relations: the tables, by their numbers.
        indexes: the indexes that go with the column, those of constraints too, by their numbers.
        statistics: the extended statistics that go with it, by their numbers.
    """

    def __init__(self, subject: Subject, columns: Columns) -> None:
        self.relations = columns.relations
        self.indexes: list[int] = []
        self.statistics: list[int] = []
        values = {"relations": self.relations, "column": subject.plan.column}
        for found in subject.connection.execute(_DEPENDENTS, values):
            if not self._comes_back(found):
                subject.obstacles.append(_described(found))

    def _comes_back(self, found: Row[Any]) -> bool:
        if found.kind in ("i", "I"):
            self.indexes.append(found.object)
        elif found.constraint_type is not None:
            return found.constraint_type in ("u", "x", "n") or (
                found.constraint_type == "p" and not found.is_primary
            )
        elif found[0] == "pg_statistic_ext":
            self.statistics.append(found.object)
        else:
            return bool(found.is_default or found.is_internal)
        return True


def _described(found: Row[Any]) -> str:
    if found.view is not None:
        return f"the {found.view} reads it"
    if found.is_primary:
        return "it is part of the primary key, which stays plain"
    if found.constraint_type == "c":
        return f"the check {found.description} needs plain values"
    if found.constraint_type == "f":
        whose = "it is part of" if found.is_ours else "it is named by"
        return f"{whose} the foreign key: {found.description}"
    if found.kind == "S":
        return f"the {found.description} belongs to it"
    return f"the {found.description} needs it"
