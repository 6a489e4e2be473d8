"""Whether a column holds its plain values byte for byte again once they were read from it and written back.

What is read may be less than what is stored: of a MariaDB TIME of 30 hours SQLAlchemy makes 6 o'clock, of a
JSON number 1.00 Python makes 1.0. Sealed and opened for good, such a value is another, and nothing complains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, bindparam, cast, select
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine

# Takes values as they are written, and for each what the column holds, in the form of Database.exact; says
# which of them the column would hold again.
KeepsAll = Callable[[Connection, Sequence[Any], Sequence[Any]], Iterable[bool]]
# Of one SELECT: PostgreSQL takes 1,664.
MOST_COLUMNS = 500

Exact = Callable[[ColumnElement[Any]], ColumnElement[Any]]


def kept_by_cast(declared: TypeEngine[Any], exact: Exact) -> KeepsAll:
    """Have the server cast values to a type: it rounds and cuts them as it would in a column.

    Args:
        declared: the type.
        exact: :meth:`.base.Database.exact`.
    """

    def forms_of(connection: Connection, values: Sequence[Any]) -> Sequence[Any]:
        given = {f"v{i}": value for i, value in enumerate(values)}
        columns = [exact(cast(bindparam(name, type_=declared), declared)) for name in given]
        return connection.execute(select(*columns), given).one()

    def kept(connection: Connection, values: Sequence[Any], forms: Sequence[Any]) -> Iterable[bool]:
        parts = (values[i : i + MOST_COLUMNS] for i in range(0, len(values), MOST_COLUMNS))
        return map(same, forms, chain.from_iterable(forms_of(connection, part) for part in parts))

    return kept


def kept_as_bound(
    declared: TypeEngine[Any],
    dialect: Dialect,
    form_of: Callable[[Any], Any],
    is_same: Callable[[Any, Any], bool],
) -> KeepsAll:
    """Compare what the driver would be given.

    Args:
        declared: the type under which values are written.
        dialect: the database's.
        form_of: turns what the driver is given into the form of :meth:`.base.Database.exact`.
        is_same: whether such a form stands for what the column holds.
    """
    bind = declared.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)

    def kept(connection: Connection, values: Sequence[Any], forms: Sequence[Any]) -> Iterable[bool]:
        return map(is_same, forms, map(form_of, map(bind, values)))

    return kept


def same(form: Any, other: Any) -> bool:
    """Return whether two stored values are the same to the last bit: 1 and 1.0 are equal in Python."""
    return type(form) is type(other) and bool(form == other)
