"""The hidden columns of search indexes as the database has them. See :class:`StoredIndex`.

A hidden column goes through these states::

    building -> filling -> ready -> leaving -> closing -> dropped

Each step is safe while some processes still see the one before: a process looks again every
:data:`SEEN_WITHIN` seconds, and the one that takes a step waits for :data:`SETTLED_AFTER` where it matters.
``docs/search.md`` says which step is safe for what reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy_cmk.keys.model import Purpose

# Seconds after which a process looks for changes.
SEEN_WITHIN = 5.0
# Seconds after which every process has seen a change, and has ended the statements that it began before.
SETTLED_AFTER = 10.0


class IndexState(StrEnum):
    """How far a hidden column has come.

    Processes that know the index write tokens until it is ``dropped``. From ``filling`` on, those that do not
    know it may not write the sealed column. ``ready`` is asked; ``leaving`` was, until another column of the
    index took its place, and is still asked where both sides of a join need tokens under the same DEK.
    """

    BUILDING = "building"
    FILLING = "filling"
    READY = "ready"
    LEAVING = "leaving"
    CLOSING = "closing"
    DROPPED = "dropped"

    @property
    def is_written(self) -> bool:
        """Whether processes that know the index write tokens into the column."""
        return self is not IndexState.DROPPED

    @property
    def is_complete(self) -> bool:
        """Whether each row with a value has its token in the column."""
        return self in (IndexState.READY, IndexState.LEAVING, IndexState.CLOSING)

    @property
    def may_be_asked(self) -> bool:
        """Whether questions may go to the column."""
        return self in (IndexState.READY, IndexState.LEAVING)

    @property
    def shuts_out(self) -> bool:
        """Whether processes that do not know the index may not write the sealed column."""
        return self.is_complete or self is IndexState.FILLING


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """A hidden column of a search index.

    Attributes:
        schema: the table's schema; empty for the connection's own.
        table: the table's name.
        hidden: the name of the hidden column.
        column: the name of the sealed column.
        name: what the index is called: what follows the column's name in that of its hidden column.
        slot: which of the index's two hidden columns it is, 0 or 1.
        state: how far it has come.
        purpose: the purpose of the DEKs under which its tokens are.
        fingerprint: the same for all that makes equal tokens under one DEK.
        definition: the kind and the options of the index, as JSON.
        begun: when its first token may have been written (UTC).
        since: when it came into this state (UTC).
    """

    schema: str
    table: str
    hidden: str
    column: str
    name: str
    slot: int
    state: IndexState
    purpose: Purpose
    fingerprint: str
    definition: str
    begun: datetime
    since: datetime

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the sealed columns that it is over."""
        return _columns_in(self.definition) or (self.column,)

    @property
    def of_table(self) -> tuple[str, str]:
        """The schema and the name of the table."""
        return self.schema, self.table

    @property
    def where(self) -> str:
        """``table.hidden column``, for messages."""
        return f"{f'{self.schema}.' if self.schema else ''}{self.table}.{self.hidden}"


def other_purpose(purpose: Purpose) -> Purpose:
    """Return the purpose to which tokens go from another."""
    return Purpose.SEARCH if purpose is Purpose.SEARCH_2 else Purpose.SEARCH_2


def going_to(stored: Iterable[StoredIndex]) -> Purpose | None:
    """Return the purpose to which a rotation goes that has not ended; ``None`` if there is none."""
    by_index: dict[tuple[str, ...], list[StoredIndex]] = {}
    for one in stored:
        if one.state.is_written:
            by_index.setdefault((*one.of_table, one.column, one.name), []).append(one)
    old = (IndexState.LEAVING, IndexState.CLOSING)
    for found in by_index.values():
        ready = next((one for one in found if one.state is IndexState.READY), None)
        if ready is not None and len(found) > 1:
            return ready.purpose if any(one.state in old for one in found) else other_purpose(ready.purpose)
    return None


def purpose_of_new(stored: Iterable[StoredIndex]) -> Purpose:
    """Return the purpose under whose DEKs a new index's tokens are made: that of all others, if they agree.

    So they can be joined, and are not under DEKs that a rotation has just retired, and which processes may
    still take for the active ones.
    """
    known = list(stored)
    target = going_to(known)
    if target is not None:
        return target
    written = {one.purpose for one in known if one.state.is_written} or {one.purpose for one in known}
    return written.pop() if len(written) == 1 else Purpose.SEARCH


@lru_cache(1000)
def _columns_in(definition: str) -> tuple[str, ...]:
    """Return the columns that a definition names, which is that of an index over several."""
    try:
        found = json.loads(definition).get("columns", ())
    except (ValueError, AttributeError, RecursionError):
        return ()
    return tuple(map(str, found)) if isinstance(found, list) else ()


@dataclass(slots=True)
class IndexView:
    """The hidden columns that a process has seen in the database, at one moment.

    Attributes:
        by_table: those of each table, by its schema and name.
        resolved: what others have worked out from them.
    """

    by_table: dict[tuple[str, str], tuple[StoredIndex, ...]]
    resolved: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of_all(cls, stored: Iterable[StoredIndex]) -> IndexView:
        """Return the view of some hidden columns."""
        found: dict[tuple[str, str], tuple[StoredIndex, ...]] = {}
        for one in stored:
            found[one.of_table] = (*found.get(one.of_table, ()), one)
        return cls(found)

    def of(self, schema: str | None, table: str) -> tuple[StoredIndex, ...]:
        """Return the hidden columns of a table that are recorded."""
        return self.by_table.get((schema or "", table), ())


NOTHING_RECORDED = IndexView({})
