"""Values that a statement compares sealed columns with: sealed once their statement is known.

The bind processor knows no statement. It hands such a value on as ``Unsealed`` (``columns/presealed.py``),
which is replaced here, before the driver sees it. What no hook has replaced is refused by the driver, and
named by :func:`explain_error`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Connection, Insert, Update
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import Compiled

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.plain import Plain
from sqlalchemy_cmk.columns.presealed import Unsealed, is_presealed, strip
from sqlalchemy_cmk.columns.tenants import tenant_source
from sqlalchemy_cmk.columns.token_columns import TokenType, Untokened
from sqlalchemy_cmk.columns.writing import ColumnWriter, writer_of
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import CmkError, UnsupportedOperation
from sqlalchemy_cmk.hooks.equality import statement_tenant
from sqlalchemy_cmk.hooks.question_tokens import QuestionTokens
from sqlalchemy_cmk.hooks.unsupported.operands import held
from sqlalchemy_cmk.hooks.values import Row
from sqlalchemy_cmk.keys.binding.held_keys import Holders
from sqlalchemy_cmk.keys.dry_run import DryRun, noting
from sqlalchemy_cmk.scope import PLATFORM_TENANT

# The execution option with the tenant for whose rows a statement asks, where the unit of work knows it.
TENANT_OPTION = "cmk_criteria_tenant"

_NOT_SEALED = (
    "a value for the sealed column {where} did not pass through the hooks that seal rows, and was not sent: "
    "write to the model or to its own Table"
)


class _Shown:
    def __repr__(self) -> str:
        return "(sealed)"


_SEALED = _Shown()

_has_sealed: WeakKeyDictionary[Compiled, bool] = WeakKeyDictionary()


def seal_criteria(context: Any, parameters: Any, executemany: bool) -> Any:
    """Return the parameters of an execution with the values of its criteria sealed.

    Raises:
        TenantRequired: neither the statement nor a scope names the tenant whose values are compared.
        UnsupportedOperation: a value to be written reached the driver unsealed.
    """
    compiled = context.compiled
    if not _compares_sealed(compiled):
        return parameters
    if isinstance(compiled.statement, Update):
        _refuse_unsealed_writes(context)
    tokens = QuestionTokens(context, partial(_owner, context))
    return _replaced(parameters, executemany, partial(_sealed, context, tokens))


def pass_criteria(context: Any, parameters: Any, executemany: bool, dry_run: DryRun) -> Any:
    """Return the parameters of an execution in a dry run: plain, with what sealing would refuse noted."""
    compares = False
    with dry_run.noting():
        compares = _compares_sealed(context.compiled)
    return _replaced(parameters, executemany, partial(_plain, context, compares))


def seal_named(
    connection: Connection, binds: Iterable[BindParameter[Any]], rows: Sequence[Row], tenants: Sequence[str]
) -> None:
    """Seal parameters given by name in criteria, each under its row's tenant, in place."""
    columns, holders = _columns(binds), Holders()
    for key, column in columns.items():
        writer = writer_of(column, connection, holders)
        for row, tenant in zip(rows, tenants, strict=True):
            if row.get(key) is not None and not (is_presealed(row[key]) or type(row[key]) is Plain):
                row[key] = writer.seal(row[key], tenant if column.is_tenants else PLATFORM_TENANT)


def hide(binds: Iterable[BindParameter[Any]], rows: Sequence[Row]) -> None:
    """Hide parameters given by name in criteria, in place: SQLAlchemy's errors show what the caller gave."""
    hiding = {bind.key: hide for bind in binds if (hide := _hiding(bind.type)) is not None}
    for row in rows:
        for key, hide in hiding.items():
            if row.get(key) is not None:
                row[key] = _hidden(hide, row[key])


def explain_error(context: ExceptionContext) -> None:
    """Say what is wrong where a driver refused a value that no hook has sealed, and show no presealed value.

    Raises:
        UnsupportedOperation: in place of the driver's error.
    """
    if isinstance(context.original_exception, CmkError):
        return
    shown = context.sqlalchemy_exception
    if shown is not None and shown.params is not None:
        shown.params = _without_presealed(shown.params)
    if context.execution_context is None:
        return  # no driver has seen them
    for value in _values(context.parameters):
        if isinstance(value, Unsealed):
            raise UnsupportedOperation(_NOT_SEALED.format(where=value.column.where)) from None


def _without_presealed(parameters: Any) -> Any:
    """Return parameters for an error's text, without those that only this process knows for sealed."""
    if isinstance(parameters, dict):
        return {key: _without_presealed(value) for key, value in parameters.items()}
    if isinstance(parameters, list | tuple):
        return type(parameters)([_without_presealed(value) for value in parameters])
    return _SEALED if is_presealed(parameters) else parameters


def _hiding(type_: Any) -> Callable[[Any], Any] | None:
    """Return what hides the values of parameters of a type; ``None`` if they are no sealed column's."""
    if isinstance(type_, TokenType):
        return type_.hide
    column = getattr(type_, "sealed_column", None)
    return partial(Unsealed, column) if isinstance(column, SealedColumn) else None


def _columns(binds: Iterable[BindParameter[Any]]) -> dict[str, SealedColumn]:
    """Return the sealed columns whose values parameters stand for, by the parameters' keys."""
    found = ((bind.key, getattr(bind.type, "sealed_column", None)) for bind in binds)
    return {key: column for key, column in found if isinstance(column, SealedColumn)}


def _compares_sealed(compiled: Any) -> bool:
    known = _has_sealed.get(compiled)
    if known is None:
        statement = compiled.statement
        names = getattr(compiled, "bind_names", {})
        _refuse_shared(names)
        writes_rows = isinstance(statement, Insert) and not private.is_from_select(statement)
        known = _has_sealed[compiled] = not writes_rows and any(map(_is_compared, names))
    return known


def _is_compared(bind: BindParameter[Any]) -> bool:
    return held(bind) is not None or isinstance(bind.type, TokenType)


def _refuse_shared(names: Mapping[BindParameter[Any], str]) -> None:
    """Refuse a parameter that is compared with a sealed column and used elsewhere as well.

    Raises:
        UnsupportedOperation: what is sealed for the one would reach the other.
    """
    uses: dict[str, set[Any]] = {}
    for bind, name in names.items():
        uses.setdefault(name, set()).add(_use_of(bind.type))
    for name, kinds in uses.items():
        if len(kinds) > 1 and kinds != {None}:
            raise UnsupportedOperation(
                f"the parameter {name!r} is compared with a sealed column and used elsewhere too: give each "
                "a name of its own"
            )


def _use_of(type_: Any) -> Any:
    """Return for what a parameter of a type is sealed, the same for those that are sealed alike."""
    if isinstance(type_, TokenType):
        return type_.use
    column = getattr(type_, "sealed_column", None)
    return (column.context.data, column.is_tenants) if isinstance(column, SealedColumn) else None


def _replaced(parameters: Any, executemany: bool, replace: Callable[[int, Any], Any]) -> Any:
    """Return the parameters of an execution with each value replaced, given its row's number."""
    if executemany:
        return [_replaced_set(one, partial(replace, i)) for i, one in enumerate(parameters)]
    return _replaced_set(parameters, partial(replace, 0))


def _replaced_set(parameters: Any, replace: Callable[[Any], Any]) -> Any:
    if isinstance(parameters, dict):
        return {key: replace(value) for key, value in parameters.items()}
    return type(parameters)(list(map(replace, parameters)))


def _plain(context: Any, compares: bool, row: int, value: Any) -> Any:
    if type(value) is not Unsealed:
        return value
    column: SealedColumn = value.column
    with noting(column.table.metadata):
        if compares:
            _owner(context, column, row)
    return column.column.type.bind_plain(value.value, context.dialect)  # type: ignore[attr-defined]


def _sealed(context: Any, tokens: QuestionTokens, row: int, value: Any) -> Any:
    if type(value) is Untokened:
        return tokens.of(value, row)
    if type(value) is not Unsealed:
        return value
    column: SealedColumn = value.column
    writer = ColumnWriter(column, column.keys_on(context.root_connection))
    return strip(writer.seal_compared(value.value, _owner(context, column, row)))


def _owner(context: Any, column: SealedColumn, row: int) -> str:
    if not column.is_tenants:
        return PLATFORM_TENANT
    tenant = context.execution_options.get(TENANT_OPTION)
    source = tenant_source(column.table)
    if tenant is None and source is not None:
        tenant = statement_tenant(context, source, None, row)
    return column.owner(tenant)


def _refuse_unsealed_writes(context: Any) -> None:
    for name, bind in private.written_parameters(context.compiled):
        where = _written_where(bind.type)
        for row in range(len(context.compiled_parameters)) if where else ():
            value = private.parameter_value(context, name, row)
            if value is not None and not is_presealed(value):
                raise UnsupportedOperation(_NOT_SEALED.format(where=where))


def _written_where(type_: Any) -> str:
    """Return the name of the sealed or hidden column that a written parameter is for; empty for others."""
    if isinstance(type_, TokenType):
        return type_.token_index.where if type_.token_index else "of an index"
    column = getattr(type_, "sealed_column", None)
    return column.where if isinstance(column, SealedColumn) else ""


def _hidden(hide: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden(hide, one) for one in value]
    return value if is_presealed(value) or isinstance(value, Unsealed | Plain) else hide(value)


def _values(parameters: Any) -> Iterable[Any]:
    if isinstance(parameters, dict):
        return parameters.values()
    sets = parameters if isinstance(parameters, list | tuple) else ()
    nested = (_values(one) if isinstance(one, dict | list | tuple) else (one,) for one in sets)
    return chain.from_iterable(nested)
