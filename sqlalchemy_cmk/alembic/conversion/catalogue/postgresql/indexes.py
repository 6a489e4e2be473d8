"""Indexes, and the keys and EXCLUDE constraints that have one, as statements that make them again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, text

from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.columns import literal
from sqlalchemy_cmk.alembic.conversion.catalogue.postgresql.dependents import Dependents
from sqlalchemy_cmk.alembic.conversion.catalogue.structure import Subject
from sqlalchemy_cmk.alembic.conversion.catalogue.words import Text

_INDEXES = text("""
    WITH RECURSIVE tree(index, depth) AS (
        SELECT i.indexrelid, 0 FROM pg_index i WHERE i.indexrelid = ANY(CAST(:indexes AS oid[]))
        UNION SELECT h.inhrelid, tree.depth + 1 FROM tree JOIN pg_inherits h ON h.inhparent = tree.index)
    SELECT format('%I.%I', n.nspname, ci.relname) AS name, quote_ident(ci.relname) AS bare,
        format('%I.%I', tn.nspname, ct.relname) AS table_name, ci.relkind = 'I' AS is_partitioned,
        i.indisvalid AS is_valid, i.indisclustered AS is_clustered, i.indisreplident AS is_identity,
        pg_get_indexdef(i.indexrelid) AS definition, array_to_string(ci.reloptions, ', ') AS options,
        coalesce(s.spcname, '') AS tablespace, obj_description(ci.oid, 'pg_class') AS comment,
        am.amname AS method, pg_get_expr(i.indexprs, i.indrelid) AS expressions,
        pg_get_expr(i.indpred, i.indrelid) AS predicate, quote_ident(k.conname) AS constraint_name,
        pg_get_constraintdef(k.oid) AS constraint_definition,
        obj_description(k.oid, 'pg_constraint') AS constraint_comment,
        (SELECT format('%I.%I', pn.nspname, p.relname) FROM pg_inherits h JOIN pg_class p
         ON p.oid = h.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
         WHERE h.inhrelid = ci.oid) AS parent,
        at.has_key, at.is_usual,
        EXISTS (SELECT FROM pg_opclass f JOIN pg_type t ON t.oid = to_regtype(:type_after)
            WHERE f.opcmethod = am.oid AND f.opcdefault AND (f.opcintype = t.oid
                OR f.opcintype IN (SELECT c.casttarget FROM pg_cast c
                    WHERE c.castsource = t.oid AND c.castmethod = 'b')
                OR (f.opcintype = CAST('anyenum' AS regtype) AND t.typtype = 'e')
                OR (f.opcintype = CAST('anyarray' AS regtype) AND t.typcategory = 'A')
                OR (f.opcintype = CAST('anyrange' AS regtype) AND t.typtype = 'r'))) AS fits,
        (SELECT array_agg(format('%s SET STATISTICS %s', ia.attnum, to_jsonb(ia) ->> 'attstattarget'))
         FROM pg_attribute ia WHERE ia.attrelid = ci.oid
            AND nullif(CAST(to_jsonb(ia) ->> 'attstattarget' AS integer), -1) IS NOT NULL
            AND i.indkey[ia.attnum - 1] = 0) AS statistics
    FROM (SELECT index, max(depth) AS depth FROM tree GROUP BY index) tree
        JOIN pg_index i ON i.indexrelid = tree.index JOIN pg_class ci ON ci.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = ci.relnamespace JOIN pg_class ct ON ct.oid = i.indrelid
        JOIN pg_namespace tn ON tn.oid = ct.relnamespace JOIN pg_am am ON am.oid = ci.relam
        LEFT JOIN pg_tablespace s ON s.oid = ci.reltablespace
        LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
        CROSS JOIN LATERAL (
            SELECT count(*) > 0 AS has_key,
                bool_and(o.opcdefault AND i.indcollation[p] IN (0, a.attcollation)
                    AND (k.conexclop IS NULL OR (SELECT q.oprname FROM pg_operator q
                         WHERE q.oid = k.conexclop[p + 1]) = '=')) AS is_usual
            FROM pg_attribute a, generate_series(0, i.indnkeyatts - 1) p JOIN pg_opclass o
                ON o.oid = i.indclass[p]
            WHERE a.attrelid = i.indrelid AND a.attname = :column AND i.indkey[p] = a.attnum) at
    ORDER BY tree.depth DESC, name
""")
_TABLESPACE = text("SELECT current_setting('default_tablespace')")


def indexes_restored(subject: Subject, dependents: Dependents) -> tuple[list[str], list[str]]:
    """Return the statements that make the indexes again, and those that mark them as they were.

    Those of partitions come before those they belong to.
    """
    values = {
        "indexes": dependents.indexes,
        "column": subject.plan.column,
        "type_after": subject.type_after.partition(" COLLATE ")[0],
    }
    indexes = list(subject.connection.execute(_INDEXES, values))
    space = subject.connection.execute(_TABLESPACE).scalar_one()
    made, last = [], space
    for index in indexes:
        subject.found(_obstacles(index, subject.plan.column))
        if index.tablespace != last:
            made.append(_in_tablespace(index.tablespace))
            last = index.tablespace
        made += _made(index)
    if last != space:
        made.append(_in_tablespace(space))
    names = {index.name for index in indexes}
    for index in indexes:
        if index.parent in names:
            made.append(f"ALTER INDEX {index.parent} ATTACH PARTITION {index.name}")
    return made, [statement for index in indexes for statement in _marks(index)]


def _obstacles(index: Row[Any], column: str) -> list[str]:
    found = {
        f"the index {index.name} is not valid: REINDEX or drop it": not (
            index.is_valid or index.is_partitioned
        ),
        f"the index {index.name} computes with its value": Text(index.expressions or "").names(column)
        or Text(index.predicate or "").computes_with(column),
        f"the index {index.name} has an operator, operator class or collation of its own for it": (
            index.has_key and not index.is_usual
        ),
        f"the index {index.name} is of kind {index.method}, which has no order for the new type": (
            index.has_key and not index.fits
        ),
    }
    return [obstacle for obstacle, there in found.items() if there]


def _in_tablespace(name: str) -> str:
    return f"SELECT set_config('default_tablespace', {literal(name)}, true)"


def _made(index: Row[Any]) -> list[str]:
    if index.constraint_name is None:
        return [index.definition]
    constraint = f"CONSTRAINT {index.constraint_name} {index.constraint_definition}"
    made = [f"ALTER TABLE ONLY {index.table_name} ADD {constraint}"]
    if index.options:
        made.append(f"ALTER INDEX {index.name} SET ({index.options})")
    return made


def _marks(index: Row[Any]) -> list[str]:
    table, made = index.table_name, []
    if index.comment is not None:
        made.append(f"COMMENT ON INDEX {index.name} IS {literal(index.comment)}")
    if index.constraint_comment is not None:
        where = f"{index.constraint_name} ON {table}"
        made.append(f"COMMENT ON CONSTRAINT {where} IS {literal(index.constraint_comment)}")
    made += [f"ALTER INDEX {index.name} ALTER COLUMN {one}" for one in index.statistics or ()]
    if index.is_clustered:
        made.append(f"ALTER TABLE {table} CLUSTER ON {index.bare}")
    if index.is_identity:
        made.append(f"ALTER TABLE ONLY {table} REPLICA IDENTITY USING INDEX {index.bare}")
    return made
