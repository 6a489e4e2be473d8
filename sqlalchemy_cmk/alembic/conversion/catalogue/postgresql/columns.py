"""A column, in its table and in that table's partitions: what it is, and the attributes that are its own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, text

from sqlalchemy_cmk.alembic.conversion.catalogue.structure import Subject
from sqlalchemy_cmk.alembic.conversion.catalogue.words import Text

# to_jsonb gives NULL for what an older version's catalogue does not have.
_COLUMNS = text("""
    WITH RECURSIVE tree(relation, depth) AS (
        SELECT CAST(to_regclass(:table) AS oid), 0
        UNION SELECT i.inhrelid, tree.depth + 1 FROM pg_inherits i JOIN tree ON i.inhparent = tree.relation)
    SELECT c.oid AS relation, a.attnum AS number, tree.depth, CAST(c.relkind AS text) AS kind,
        format('%I.%I', n.nspname, c.relname) AS name, quote_ident(a.attname) AS quoted,
        c.relispartition AS is_partition, c.reloftype <> 0 AS is_typed, a.attinhcount AS parents,
        a.attislocal AS is_local, a.attnotnull AS not_null,
        CAST(a.attidentity AS text) AS identity, CAST(a.attgenerated AS text) AS generated,
        format_type(a.atttypid, a.atttypmod) AS type, CAST(t.typtype AS text) AS type_kind,
        a.atttypid = to_regtype(:type_before) AS same_type,
        CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN o.collname END AS collation,
        nullif(CAST(to_jsonb(a) ->> 'attstattarget' AS integer), -1) AS statistics,
        CASE WHEN a.attstorage <> t.typstorage THEN CAST(a.attstorage AS text) END AS storage,
        nullif(to_jsonb(a) ->> 'attcompression', '') AS compression,
        (SELECT CAST(u.typstorage AS text) FROM pg_type u
         WHERE u.oid = to_regtype(:type_after)) AS stored_after,
        array_to_string(a.attoptions, ', ') AS options, col_description(c.oid, a.attnum) AS comment,
        (SELECT string_agg(l.provider, ', ') FROM pg_seclabel l
         WHERE l.objoid = c.oid AND l.objsubid = a.attnum) AS labels,
        (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d
         WHERE d.adrelid = c.oid AND d.adnum = a.attnum) AS default_text,
        pg_get_partkeydef(c.oid) AS partition_key
    FROM tree JOIN pg_class c ON c.oid = tree.relation JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = :column AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation o ON o.oid = a.attcollation
    ORDER BY tree.depth, name
""")
_GRANTS = text("""
    SELECT c.oid AS relation, x.privilege_type AS privilege, x.is_grantable AS grantable,
        x.grantor = c.relowner AS of_owner, CASE WHEN x.grantee = 0 THEN 'PUBLIC'
        ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = :column,
        aclexplode(a.attacl) WITH ORDINALITY x(grantor, grantee, privilege_type, is_grantable, at)
    WHERE c.oid = ANY(CAST(:relations AS oid[])) ORDER BY c.oid, x.at
""")
# Not there before version 18, where NOT NULL is a constraint and has a name.
_NOT_NULL = text("""
    SELECT k.conrelid AS relation, quote_ident(k.conname) AS name, pg_get_constraintdef(k.oid) AS definition,
        obj_description(k.oid, 'pg_constraint') AS comment, k.conislocal AS is_local
    FROM pg_constraint k WHERE k.contype = 'n' AND k.conrelid = ANY(CAST(:relations AS oid[]))
        AND k.conkey = ARRAY[(SELECT a.attnum FROM pg_attribute a
                              WHERE a.attrelid = k.conrelid AND a.attname = :column)]
""")
# https://www.postgresql.org/docs/current/catalog-pg-attribute.html and catalog-pg-type.html
_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "x": "EXTENDED", "m": "MAIN"}
_COMPRESSION = {"p": "pglz", "l": "lz4"}
_FOREIGN = "f"


def literal(value: str) -> str:
    """Return a text as PostgreSQL reads it whatever its settings."""
    quoted = "'" + value.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in value else quoted


class Columns:
    """The column in a table and in each of its partitions.

    Args:
        subject: the column; gets what stands in the way.

    Attributes:
        all: the columns, the table's own first.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        values = {
            "table": subject.table,
            "column": subject.plan.column,
            "type_before": _bare(subject.type_before),
            "type_after": _bare(subject.type_after),
        }
        self.all = list(subject.connection.execute(_COLUMNS, values))
        for column in self.all:
            subject.found(self._obstacles(column))
        subject.found(subject.default_obstacle(self.all[0].default_text))

    @property
    def relations(self) -> list[int]:
        """The tables, by their numbers."""
        return [column.relation for column in self.all]

    @property
    def nullable(self) -> bool:
        """Whether the column takes NULL."""
        return not self.all[0].not_null

    @property
    def not_null(self) -> list[str]:
        """The statements that make the new column NOT NULL as the old one was, and as the plan says."""
        named = {row.relation: row for row in self._rows(_NOT_NULL)}
        made, comments = list[str](), list[str]()
        # Partitions first, so that each keeps the name of its own constraint.
        for column in reversed(self.all):
            row = named.get(column.relation)
            if row is None:
                if column.not_null or not (column.depth or self._subject.plan.nullable):
                    made.append(f"{_altered(column)} SET NOT NULL")
                continue
            if row.is_local:
                made.append(f"ALTER TABLE {column.name} ADD CONSTRAINT {row.name} {row.definition}")
            elif row.name not in {one.name for one in named.values() if one.is_local}:
                where = f"the NOT NULL constraint {row.name} of {column.name}"
                self._subject.found([f"{where} was attached with it, under a name of its own"])
            if row.comment is not None:
                comments.append(
                    f"COMMENT ON CONSTRAINT {row.name} ON {column.name} IS {literal(row.comment)}"
                )
        return made + comments

    def attributes(self) -> list[str]:
        """Return the statements that give the new column the old one's attributes, comment and grants."""
        made = [statement for column in self.all for statement in _attributes(column)]
        names = {column.relation: (column.name, column.quoted) for column in self.all}
        for grant in self._rows(_GRANTS):
            table, column = names[grant.relation]
            option = " WITH GRANT OPTION" if grant.grantable else ""
            made.append(f"GRANT {grant.privilege} ({column}) ON {table} TO {grant.grantee}{option}")
            if not grant.of_owner:
                whose = f"the grant of {grant.privilege} on it to {grant.grantee}"
                self._subject.found(
                    [f"{whose} was made by another role than the owner of {table}: revoke it"]
                )
        return made

    def _rows(self, query: Any) -> list[Row[Any]]:
        values = {"relations": self.relations, "column": self._subject.plan.column}
        return list(self._subject.connection.execute(query, values))

    def _obstacles(self, column: Row[Any]) -> list[str]:
        first = column.depth == 0
        key = column.partition_key
        found = {
            f"{column.name} is a foreign table": column.kind == _FOREIGN,
            f"{column.name} is a table of a composite type": column.is_typed,
            f"{column.name} inherits it: convert it in the table at the top": first and column.parents,
            f"{column.name} inherits from the table: its rows fire no trigger of the table and are not found "
            "by its key; take it out with NO INHERIT": not first and not column.is_partition,
            "it is an identity column, whose sequence goes with it": first and column.identity,
            "it is a generated column": first and column.generated,
            f"{column.name} is partitioned by it": key is not None
            and Text(key).names(self._subject.plan.column),
            f"{column.name} has a default of its own for it": not first
            and column.default_text != self.all[0].default_text,
            f"security labels of {column.labels} are on it": column.labels,
            "its storage or compression is none that the new type has: set it to the default of its type": (
                column.storage or column.compression
            )
            and column.stored_after == "p",
        }
        return [obstacle for obstacle, there in found.items() if there] + (self._type() if first else [])

    def _type(self) -> list[str]:
        """Return what of the type would not come back when the column is opened again."""
        column, said = self.all[0], self._subject.type_before
        if not self._subject.is_plain:
            return []
        if column.collation is not None and f'COLLATE "{column.collation}"' not in said:
            return [f'its collation is {column.collation}: write existing_type=String(..., collation="...")']
        if column.type_kind == "d" and not column.same_type:
            return [f"it is of the domain {column.type}, whose checks would go: give it the type under that"]
        return []


def _attributes(column: Row[Any]) -> list[str]:
    change, made = _altered(column), []
    if column.statistics is not None:
        made.append(f"{change} SET STATISTICS {column.statistics}")
    if column.storage is not None:
        made.append(f"{change} SET STORAGE {_STORAGE[column.storage]}")
    if column.compression is not None:
        made.append(f"{change} SET COMPRESSION {_COMPRESSION[column.compression]}")
    if column.options is not None:
        made.append(f"{change} SET ({column.options})")
    if column.comment is not None:
        made.append(f"COMMENT ON COLUMN {column.name}.{column.quoted} IS {literal(column.comment)}")
    return made


def _altered(column: Row[Any]) -> str:
    return f"ALTER TABLE ONLY {column.name} ALTER COLUMN {column.quoted}"


def _bare(type_: str) -> str:
    return type_.partition(" COLLATE ")[0]
