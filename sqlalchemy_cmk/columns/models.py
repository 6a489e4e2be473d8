"""What a mapped class says of its rows, noted on its tables.

That is ``__cmk_tenant__``, ``__cmk_row__`` and ``__cmk_indexes__``.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Column, Join, Table
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.columns.column import TENANT_INFO_KEY
from sqlalchemy_cmk.columns.compounds import INDEXES_ATTRIBUTE, checked, declare_compounds
from sqlalchemy_cmk.columns.nesting import refuse_inside
from sqlalchemy_cmk.columns.tenants import (
    MODEL_ATTRIBUTE,
    ROW_ATTRIBUTE,
    ROW_INFO_KEY,
    TenantSource,
    refuse_sealed_tenant,
    tenant_source,
)
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.declarations import check_again

_MISSING = object()
_ATTRIBUTES = (MODEL_ATTRIBUTE, ROW_ATTRIBUTE, INDEXES_ATTRIBUTE)
_names: WeakKeyDictionary[Table, set[str]] = WeakKeyDictionary()


def model_names(table: Table) -> frozenset[str]:
    """Return the names of the classes that are mapped to a table."""
    return frozenset(_names.get(table, ()))


def note_tenant_column(mapper: Mapper[Any], model: type[Any]) -> None:
    """Note on a new model's tables which column ``__cmk_tenant__`` names, and that ``None`` was said.

    Raises:
        ConfigurationError: it names no column of the model, or another than its table has already; or the
            model has an attribute ``__cmk_...__`` that means nothing.
    """
    _refuse_unknown_names(model)
    for table in mapper.tables:
        if isinstance(table, Table):
            _names.setdefault(table, set()).add(model.__name__)
    for type_ in mapper.registry.type_annotation_map.values():
        if isinstance(type_, TypeEngine):  # of an Enum, SQLAlchemy takes a copy without its variants
            refuse_inside(type_, "type_annotation_map: ")
    if not isinstance(mapper.local_table, Table | Join):
        return  # a union or a subquery of tables that say it themselves
    _note_row(mapper, model)
    _note_indexes(mapper, model)
    name = getattr(model, MODEL_ATTRIBUTE, _MISSING)
    if name is _MISSING:
        return
    if name is None:
        _note_source(mapper, model, mapper.local_table, None)
        return
    column = mapper.columns.get(name) if isinstance(name, str) else None
    if column is None or not isinstance(column.table, Table):
        raise ConfigurationError(
            f"{model.__name__}.{MODEL_ATTRIBUTE} is the name of the attribute with the tenant, or None for "
            f"the platform's rows: {name!r} is not a column of the model"
        )
    refuse_sealed_tenant(model.__name__, column)
    for table in mapper.tables:
        if isinstance(table, Table):
            _note_source(mapper, model, table, column)


def _note_source(mapper: Mapper[Any], model: type[Any], table: Any, column: Column[Any] | None) -> None:
    """Note a table's tenant column, unless it is known: a base table was noted by the model's base."""
    if not isinstance(table, Table):
        return
    if TENANT_INFO_KEY not in table.info:
        source = None
        if column is not None:
            source = TenantSource(table, column, _keys(mapper, table, column.table))
        table.info[TENANT_INFO_KEY] = source
        check_again(table.metadata)
    elif table is mapper.local_table:
        known = tenant_source(table)
        if (known and known.column) is not column:
            raise ConfigurationError(
                f"{model.__name__}.{MODEL_ATTRIBUTE}: the table {table.fullname} belongs to "
                f"{f'the tenants in {known.column}' if known else 'the platform'} already: say the same"
            )


def _refuse_unknown_names(model: type[Any]) -> None:
    """Refuse a mistyped name, which would be ignored.

    Python puts the class's name before those that do not end in two underscores.
    """
    for one in model.__mro__:
        mangled = f"_{one.__name__.lstrip('_')}__"
        for name in vars(one):
            name = name.removeprefix(mangled[:-2]) if name.startswith(mangled) else name
            if name.lower().startswith("__cmk") and name not in _ATTRIBUTES:
                known = get_close_matches(name.lower(), _ATTRIBUTES, 1, 0)[0]
                raise ConfigurationError(f"{one.__name__}.{name} means nothing: did you mean {known}?")


def _note_row(mapper: Mapper[Any], model: type[Any]) -> None:
    """Note on a new model's tables which columns ``__cmk_row__`` names."""
    names = getattr(model, ROW_ATTRIBUTE, None)
    if names is None:
        return
    if not isinstance(names, tuple | list) or not names or not all(isinstance(one, str) for one in names):
        raise ConfigurationError(
            f'{model.__name__}.{ROW_ATTRIBUTE} is a tuple of attribute names, such as ("public_id",)'
        )
    columns = [mapper.columns.get(name) for name in names]
    missing = [name for name, column in zip(names, columns, strict=True) if column is None]
    if missing:
        raise ConfigurationError(
            f"{model.__name__}.{ROW_ATTRIBUTE} names {missing[0]!r}, which is not a column of the model"
        )
    for table in mapper.tables:
        own = tuple(str(column.key) for column in columns if column is not None and column.table is table)
        if isinstance(table, Table) and len(own) == len(names):
            if tuple(table.info.setdefault(ROW_INFO_KEY, own)) != own:
                raise ConfigurationError(
                    f"{model.__name__}.{ROW_ATTRIBUTE}: the rows of {table.fullname} are identified by "
                    f"{', '.join(table.info[ROW_INFO_KEY])} already: say the same"
                )
            check_again(table.metadata)
            return
    raise ConfigurationError(
        f"{model.__name__}.{ROW_ATTRIBUTE} names {', '.join(map(repr, names))}, which are not columns of one "
        "table of the model"
    )


def _note_indexes(mapper: Mapper[Any], model: type[Any]) -> None:
    """Note on a new model's tables the indexes over several columns that ``__cmk_indexes__`` declares."""
    for index in checked(getattr(model, INDEXES_ATTRIBUTE, ()), model.__name__):
        columns = [mapper.columns.get(name) for name in index.columns]
        missing = [name for name, column in zip(index.columns, columns, strict=True) if column is None]
        if missing:
            raise ConfigurationError(
                f"{model.__name__}.{INDEXES_ATTRIBUTE} names {missing[0]!r}, which is not a column of the "
                "model"
            )
        tables = {column.table for column in columns if column is not None}
        table = next(iter(tables))
        if len(tables) > 1 or not isinstance(table, Table):
            raise ConfigurationError(
                f"{model.__name__}.{INDEXES_ATTRIBUTE}: {', '.join(map(repr, index.columns))} are columns of "
                "several tables: an index is in the table of its columns"
            )
        declare_compounds(table, [index.over(tuple(str(column.key) for column in columns))])  # type: ignore[union-attr]
        check_again(table.metadata)


def _keys(mapper: Mapper[Any], table: Table, holder: Table) -> tuple[Column[Any], ...]:
    if table is holder:
        return tuple(table.primary_key)
    keys: list[Column[Any]] = []
    for primary in holder.primary_key:
        columns = mapper.get_property_by_column(primary).columns
        keys += [column for column in columns if isinstance(column, Column) and column.table is table][:1]
    if len(keys) != len(holder.primary_key.columns):
        raise ConfigurationError(
            f"{table.fullname}: its rows cannot be matched to their tenant in {holder.fullname}"
        )
    return tuple(keys)
