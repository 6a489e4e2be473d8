"""LIMIT and OFFSET of candidates: more rows are asked for, since some are dropped, from the first on.

Each page is what one statement finds, as without candidates: where it does not suffice, the whole page is
read again, with a larger LIMIT.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, Connection
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql.visitors import iterate

from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.candidates.places import places_of

# Rows to drop are rare, but where few are asked for, one may be among them.
_MORE, _AT_LEAST = 1.25, 16
# Where that does not suffice, what is asked for is not rare among the candidates.
_TIMES = 8
# PostgreSQL's drivers send a LIMIT as an integer of 32 bits.
MOST_ROWS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """The parameters of a compiled SELECT for its LIMIT and its OFFSET; ``None`` if it has none."""

    limit: str | None
    offset: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one execution that are wanted: ``limit`` of them, ``None`` for all, from ``offset`` on.

    Attributes:
        offset: how many rows are left out.
        limit: how many of the others are wanted.
        size: the LIMIT that is sent; ``None`` if that is not changed.
    """

    offset: int
    limit: int | None
    size: int | None

    @property
    def last(self) -> int:
        """How many rows suffice."""
        return self.offset + (self.limit or 0)

    def larger(self) -> Page:
        """Return the page with the LIMIT to send next.

        Raises:
            UnsupportedOperation: there is no larger one.
        """
        if self.size is None or self.size >= MOST_ROWS:
            raise UnsupportedOperation(
                "a page of candidates is larger than a LIMIT can be: narrow the question"
            )
        return replace(self, size=min(self.size * _TIMES, MOST_ROWS))


_limits: WeakKeyDictionary[Compiled, Limits] = WeakKeyDictionary()
# What was sent to the driver, for as long as its execution lasts.
_sent: WeakKeyDictionary[Any, tuple[str, Any]] = WeakKeyDictionary()


def widen(context: Any, parameters: Any) -> Any:
    """Return the parameters of an execution with a LIMIT that leaves room for rows that are dropped.

    Raises:
        UnsupportedOperation: the LIMIT or the OFFSET is not a parameter.
    """
    return _with_page(context, parameters, page_of(context)) if places_of(context.compiled) else parameters


def note_sent(context: Any, statement: str, parameters: Any) -> None:
    """Note what was sent, in case that it has to be sent again."""
    if places_of(context.compiled):
        _sent[context] = statement, parameters


def is_stream(context: Any) -> bool:
    """Return whether the rows of an execution are read as they are wanted."""
    options = context.execution_options
    return bool(options.get("stream_results") or options.get("yield_per"))


def page_of(context: Any) -> Page:
    """Return which rows of an execution are wanted."""
    limits = _limits_of(context.compiled)
    limit, offset = (_number(context, name) for name in (limits.limit, limits.offset))
    if limit is not None and limit < 0:
        limit = None  # SQLite takes it for none; others refuse it
    page = Page(max(offset or 0, 0), limit, None)
    if limit is None:
        return page
    size = MOST_ROWS if is_stream(context) else min(int(page.last * _MORE) + _AT_LEAST, MOST_ROWS)
    return replace(page, size=size)


def send_again(connection: Connection, context: Any, page: Page) -> Any:
    """Return the raw rows of an execution that is sent again with the LIMIT of a page."""
    statement, parameters = _sent[context]
    parameters = _with_page(context, parameters, page)
    given = parameters if isinstance(parameters, dict) else tuple(parameters)
    return private.raw_rows(connection.exec_driver_sql(statement, given))


def _with_page(context: Any, parameters: Any, page: Page) -> Any:
    limits = _limits_of(context.compiled)
    changed = {}
    if limits.offset is not None and page.offset:
        changed[limits.offset] = 0
    if limits.limit is not None and page.size is not None:
        changed[limits.limit] = page.size
    return private.with_parameters(context, parameters, changed) if changed else parameters


def _number(context: Any, name: str | None) -> int | None:
    value = None if name is None else private.parameter_value(context, name)
    if value is not None and type(value) is not int:
        _refuse()
    return value


def _limits_of(compiled: Any) -> Limits:
    known = _limits.get(compiled)
    if known is None:
        select = private.compiled_select(compiled)
        limit, offset = private.limits(select)
        known = _limits[compiled] = Limits(
            _parameter(compiled, select, limit), _parameter(compiled, select, offset)
        )
    return known


def _parameter(compiled: Any, select: Any, clause: Any) -> str | None:
    """Return the parameter that a LIMIT or an OFFSET is, and nothing else is."""
    if clause is None:
        return None
    if not isinstance(clause, BindParameter) or clause.literal_execute:
        _refuse()
    name = private.parameter_name(compiled, clause)
    uses = sum(isinstance(one, BindParameter) and one.key == clause.key for one in iterate(select))
    if name is None or uses > 1:
        _refuse()
    return name


def _refuse() -> NoReturn:
    raise UnsupportedOperation(
        "a SELECT whose rows are compared again once they are opened needs its LIMIT and OFFSET as numbers, "
        "each a parameter of its own, as limit(20) and offset(40) are; without PERCENT or WITH TIES"
    )
