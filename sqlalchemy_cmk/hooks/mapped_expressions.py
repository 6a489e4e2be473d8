"""Expressions that a model loads with each object: ``column_property`` over a sealed column.

What sealed bytes cannot serve would fail with the first query of the model. It is refused when the class is
mapped.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnClause, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper

from sqlalchemy_cmk.errors import ConfigurationError, UnsupportedOperation
from sqlalchemy_cmk.hooks.unsupported import refuse_unsupported
from sqlalchemy_cmk.keys.dry_run import noting_everywhere


def refuse_mapped_expressions(mapper: Mapper[Any], model: type[Any]) -> None:
    """Refuse a ``column_property`` that computes with sealed bytes, unless it is deferred.

    Raises:
        ConfigurationError: the model has one.
    """
    columns: dict[str, Any] = dict(mapper.columns.items())
    for name, expression in columns.items():
        if isinstance(expression, ColumnClause) or getattr(model, name).property.deferred:
            continue
        reason = ""
        try:
            # What sealed bytes may be asked is the same on every dialect.
            refuse_unsupported(select(expression).select_from(mapper.selectable).compile())
        except UnsupportedOperation as error:
            reason = str(error)
        except SQLAlchemyError:
            continue  # of another dialect, or of models still to come: each query is looked at anyway
        if reason:
            with noting_everywhere():
                raise ConfigurationError(
                    f"{model.__name__}.{name} is loaded with every object: {reason}. Make it a property of "
                    "the class, or defer it"
                )
