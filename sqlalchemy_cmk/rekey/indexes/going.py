"""Drops hidden columns: first nobody asks one, then nobody writes it, then it goes."""

from __future__ import annotations

import logging

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.indexes.records import IndexState, StoredIndex
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey.indexes.spec import IndexSpec
from sqlalchemy_cmk.rekey.indexes.statements import drop_column
from sqlalchemy_cmk.rekey.indexes.work import IndexWork

log = logging.getLogger(__name__)


def drop_index(work: IndexWork, spec: IndexSpec) -> None:
    """Drop an index. Processes whose models declare it go on; they refuse its questions.

    It stays recorded as dropped, since what is not recorded was made together with its table.
    """
    with work.alone(spec):
        found = spec.of_this(work.catalogue.stored())
        if not found:
            found = [spec.stored(0, IndexState.READY, Purpose.SEARCH)]
            work.record(*found)
        _close(work, spec, found)
        for one in found:
            drop_column(work.connection, spec, one.hidden)
            if one.slot:
                work.erase(one)
        if all(one.slot for one in found):
            work.record(spec.stored(0, IndexState.DROPPED, found[0].purpose))
    log.info("%s is dropped", spec.where)


def finish_rotation(work: IndexWork, spec: IndexSpec) -> None:
    """Drop the hidden column with the old tokens of an index, once its new ones are asked.

    Raises:
        ConfigurationError: it has no new tokens yet.
    """
    with work.alone(spec):
        found = work.recorded(spec)
        old = [one for one in found if one.state not in (IndexState.READY, *_BEING_BUILT)]
        if not any(one.state is IndexState.READY for one in found):
            raise ConfigurationError(f"{spec.where}: the index is not ready: build it first")
        _close(work, spec, old)
        for one in old:
            drop_column(work.connection, spec, one.hidden)
            work.erase(one)


_BEING_BUILT = (IndexState.BUILDING, IndexState.FILLING)


def _close(work: IndexWork, spec: IndexSpec, found: list[StoredIndex]) -> None:
    """Have every process ask hidden columns no more, and then write them no more."""
    going = {one.hidden for one in found}
    for state in (IndexState.CLOSING, IndexState.DROPPED):
        before = {IndexState.CLOSING: (*_BEING_BUILT, IndexState.READY, IndexState.LEAVING)}
        kinds = before.get(state, (IndexState.CLOSING,))
        now = [one for one in spec.of_this(work.catalogue.stored()) if one.hidden in going]
        work.change(*((one, state) for one in now if one.state in kinds))
        if any(one.state is not IndexState.DROPPED for one in now):
            work.settle()
