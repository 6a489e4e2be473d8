"""Makes an index on a table in use: adds a hidden column, makes each row's token, opens it to questions.

Each step looks at what is there: what was killed is run again. ``docs/search.md`` says why each is safe.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection, func, null

from sqlalchemy_cmk.columns.tenants import name_in
from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys.indexes.records import IndexState, StoredIndex, purpose_of_new
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey.indexes.spec import IndexSpec
from sqlalchemy_cmk.rekey.indexes.statements import (
    add_column,
    add_index,
    clear_nulls,
    has_column,
    has_table,
)
from sqlalchemy_cmk.rekey.indexes.work import IndexWork
from sqlalchemy_cmk.rekey.layout import Layout
from sqlalchemy_cmk.rekey.remaining import missing_token
from sqlalchemy_cmk.scope import PLATFORM_TENANT

log = logging.getLogger(__name__)

_BEING_BUILT = (IndexState.BUILDING, IndexState.FILLING)


def expand_index(work: IndexWork, spec: IndexSpec) -> None:
    """Add an index's hidden column: from now on, processes that know the index write their tokens.

    Raises:
        ConfigurationError: an index with other options is there.
    """
    with work.alone(spec):
        _expand(work, spec)


def build_index(work: IndexWork, spec: IndexSpec) -> None:
    """Make an index on a table in use, or go on where that was interrupted.

    Processes that do not know the index may not write the sealed column from now on.

    Raises:
        ConfigurationError: an index with other options is there, or its values are not unique.
        TamperedError: values do not open; the tokens of the others are made.
        KeyUnavailable: the KEKs of some tenants refuse or cannot be reached, or others write all the time, or
            DEKs of the purpose were retired a short time ago.
    """
    with work.alone(spec):
        _expand(work, spec)
        for one in work.recorded(spec):
            if one.state in _BEING_BUILT:
                _fill(work, spec, one)
                _open(work, spec, one.hidden)


def rebuild_index(work: IndexWork, spec: IndexSpec, purpose: Purpose) -> None:
    """Make an index's tokens again, under the DEKs of another purpose, in its other hidden column.

    Questions go to the one that is there until every row has its new token. The old one is written until
    :func:`~.going.finish_rotation` drops it, so that a process that still asks it is right.

    Raises:
        As :func:`build_index`; and ConfigurationError where the index is still being built or dropped.
    """
    with work.alone(spec):
        recorded = {one.slot: one for one in work.recorded(spec)}
        if not recorded:
            recorded[0] = spec.stored(0, IndexState.READY, Purpose.SEARCH)
            work.record(recorded[0])
        ready = next((one for one in recorded.values() if one.state is IndexState.READY), None)
        if ready is None:
            raise ConfigurationError(f"{spec.where}: the index is being built or dropped: end that first")
        if ready.purpose is purpose:
            return
        other = recorded.get(1 - ready.slot)
        if other is None or other.state is IndexState.DROPPED:
            other = _add(work, spec, 1 - ready.slot, purpose)
        if other.state not in _BEING_BUILT or other.purpose is not purpose:
            raise ConfigurationError(
                f"{spec.where}: the rotation before this one has not ended: finish it first"
            )
        _fill(work, spec, other)
        _open(work, spec, other.hidden)


def _expand(work: IndexWork, spec: IndexSpec) -> None:
    for one in work.recorded(spec):
        if one.state.is_written and not has_column(work.connection, spec, one.hidden):
            work.erase(one)  # its table was dropped, and made again
    for one in work.catalogue.stored():
        if spec.may_have_been(one) and not has_table(work.connection, one):
            work.erase(one)  # the table had another name
    recorded = work.recorded(spec)
    if all(one.state is IndexState.DROPPED for one in recorded):
        purpose = next((one.purpose for one in recorded), None) or purpose_of_new(work.catalogue.stored())
        for one in recorded:
            if one.slot:
                work.erase(one)
        _add(work, spec, 0, purpose)


def _add(work: IndexWork, spec: IndexSpec, slot: int, purpose: Purpose) -> StoredIndex:
    work.require_settled(purpose)
    # Recorded before it is there, as a column that nobody writes or asks: without a record it would be one
    # that was made together with its table.
    new = spec.stored(slot, IndexState.DROPPED, purpose)
    work.record(new)
    add_column(work.connection, spec, new.hidden)
    work.change((new, IndexState.BUILDING))
    return _again(work, spec, new.hidden)


def _fill(work: IndexWork, spec: IndexSpec, stored: StoredIndex) -> None:
    """Make the tokens of every row, once nobody leaves one out any more."""
    if stored.state is IndexState.BUILDING:
        work.change((stored, IndexState.FILLING))
    # Every process has seen it then; what others have begun to write before is committed.
    work.settle()
    work.wait_for_writers(spec)
    work.run(spec.job(stored))
    clear_nulls(work.connection, spec, stored.hidden)
    add_index(work.connection, spec, stored.hidden)


def _open(work: IndexWork, spec: IndexSpec, hidden: str) -> None:
    """Have questions go to a hidden column in which every row has its token."""
    stored = _again(work, spec, hidden)
    missing = _missing(work, spec, stored)
    if missing:
        raise KeyUnavailable(
            f"{stored.where}: {missing} rows have a value and no token: run this again, once every process "
            "that writes them knows the index"
        )
    before = [(one, IndexState.LEAVING) for one in work.recorded(spec) if one.state is IndexState.READY]
    work.change(*before, (stored, IndexState.READY))
    log.info("%s is ready", stored.where)


def _missing(work: IndexWork, spec: IndexSpec, stored: StoredIndex) -> int:
    """Count the rows that have a value and no token, without those whose values never open again."""
    job = spec.job(stored)

    def count(connection: Connection) -> dict[str, int]:
        layout = Layout(job, connection)
        owner = null() if layout.tenant is None else layout.tenant
        query = layout.all_rows(owner, func.count()).where(missing_token(layout))
        if layout.tenant is not None:
            query = query.group_by(layout.tenant)
        counts: dict[str, int] = {}
        for value, found in connection.execute(query):
            tenant = PLATFORM_TENANT if value is None else name_in(layout.tenant_type, value)
            counts[tenant] = counts.get(tenant, 0) + found
        return counts

    counts = work.keyring.connections.use(count)
    gone = work.keyring.store.shredded([one for one in counts if one != PLATFORM_TENANT])
    return sum(found for tenant, found in counts.items() if tenant not in gone)


def _again(work: IndexWork, spec: IndexSpec, hidden: str) -> StoredIndex:
    return next(one for one in work.recorded(spec) if one.hidden == hidden)
