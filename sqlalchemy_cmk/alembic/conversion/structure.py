"""What hangs on a column, read before it goes and put back on the one that takes its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from alembic.operations import Operations
from sqlalchemy import Inspector, inspect

from sqlalchemy_cmk.alembic.conversion.plan import Plan
from sqlalchemy_cmk.errors import ConfigurationError

_LENGTH, _KIND = "length", "prefix"


@dataclass(frozen=True)
class Index:
    """An index, or a unique constraint, over a column and perhaps others."""

    name: str
    columns: tuple[str, ...]
    unique: bool
    constraint: bool
    options: dict[str, Any]


@dataclass(frozen=True)
class Structure:
    """What hangs on a column.

    Attributes:
        indexes: the indexes and unique constraints.
        comment: the column's comment.
        after: the column before it.
    """

    indexes: tuple[Index, ...]
    comment: str | None
    after: str | None

    @classmethod
    def of(cls, operations: Operations, plan: Plan) -> Structure:
        """Read it.

        Raises:
            ConfigurationError: the column is part of something that would not come back.
        """
        inspector = inspect(operations.get_bind())
        _refuse(inspector, plan)
        columns = inspector.get_columns(plan.table, schema=plan.schema)
        names = [column["name"] for column in columns]
        at = names.index(plan.column)
        indexes = tuple(index for index in _indexes(inspector, plan) if plan.column in index.columns)
        for index in indexes:
            _refuse_index(operations, plan, index)
        if columns[at]["default"] is not None and operations.get_bind().dialect.name == "sqlite":
            raise ConfigurationError(
                f"{plan.where} has a default, which SQLite would write plain: take it away first, with "
                "batch_alter_table and server_default=None"
            )
        return cls(indexes, columns[at].get("comment"), names[at - 1] if at else None)

    def restore(self, operations: Operations, plan: Plan) -> None:
        """Put the indexes and unique constraints on the column that is now there."""
        for index in self.indexes:
            if index.constraint:
                operations.create_unique_constraint(
                    index.name, plan.table, list(index.columns), schema=plan.schema, **index.options
                )
            else:
                operations.create_index(
                    index.name,
                    plan.table,
                    list(index.columns),
                    unique=index.unique,
                    schema=plan.schema,
                    **index.options,
                )


def _indexes(inspector: Inspector, plan: Plan) -> list[Index]:
    found = []
    for one in inspector.get_unique_constraints(plan.table, schema=plan.schema):
        columns = tuple(map(str, one["column_names"]))
        # MariaDB calls a unique index a constraint too; it is put back as what it is, an index.
        is_constraint = "duplicates_index" not in one
        if is_constraint:
            options = dict(one.get("dialect_options") or {})
            found.append(Index(str(one["name"]), columns, True, True, options))
    for index in inspector.get_indexes(plan.table, schema=plan.schema):
        if "duplicates_constraint" in index:
            continue
        if None in index["column_names"]:
            if any(plan.column in str(one) for one in index.get("expressions", ())):
                raise ConfigurationError(
                    f"{plan.where}: the index {index['name']} computes with its value; drop it first"
                )
            continue
        options = {
            name: value
            for name, value in (index.get("dialect_options") or {}).items()
            if value not in ([], {})
        }
        columns = tuple(map(str, index["column_names"]))
        found.append(Index(str(index["name"]), columns, bool(index["unique"]), False, options))
    return found


def _refuse(inspector: Inspector, plan: Plan) -> None:
    where, schema = plan.where, plan.schema
    if plan.column in inspector.get_pk_constraint(plan.table, schema=schema)["constrained_columns"]:
        raise ConfigurationError(f"{where} is part of the primary key, which stays plain")
    for key in inspector.get_foreign_keys(plan.table, schema=schema):
        if plan.column in key["constrained_columns"]:
            raise ConfigurationError(f"{where} is part of the foreign key {key['name']}; drop that first")
    for check in inspector.get_check_constraints(plan.table, schema=schema):
        text = str(check["sqltext"])
        is_ours = check["name"] == plan.tag
        # MariaDB checks a JSON column by itself, under the column's name.
        is_json = check["name"] == plan.column and "json_valid" in text
        if re.search(rf"\b{re.escape(plan.column)}\b", text) and not is_ours and not is_json:
            raise ConfigurationError(
                f"{where}: the check constraint {check['name'] or text} needs plain values; drop it first"
            )


def _refuse_index(operations: Operations, plan: Plan, index: Index) -> None:
    for option, value in index.options.items():
        usual = option.endswith("_using") and value == "btree"
        if option.endswith((_LENGTH, _KIND, "_using", "_ops", "_where")) and value and not usual:
            raise ConfigurationError(
                f"{plan.where}: the index {index.name} is of a kind that does not come back; drop it first"
            )
    dialect = operations.get_bind().dialect
    if dialect.name in ("mysql", "mariadb"):
        made = plan.new_column(plan.column, final=True).type.compile(dialect=dialect).upper()
        if made.endswith(("BLOB", "TEXT")):
            raise ConfigurationError(
                f"{plan.where}: the index {index.name} cannot be on a {made}: give the type a length, or "
                "drop the index first"
            )
