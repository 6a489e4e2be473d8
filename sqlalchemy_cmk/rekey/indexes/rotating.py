"""Rotates the keys of every search index of a database, or goes on where that was interrupted."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.indexes.records import IndexState, StoredIndex, going_to, other_purpose
from sqlalchemy_cmk.rekey.indexes.build import build_index, rebuild_index
from sqlalchemy_cmk.rekey.indexes.going import finish_rotation
from sqlalchemy_cmk.rekey.indexes.rotation import next_purpose
from sqlalchemy_cmk.rekey.indexes.spec import IndexSpec
from sqlalchemy_cmk.rekey.indexes.work import IndexWork

_BEING_BUILT = (IndexState.BUILDING, IndexState.FILLING)


def finish_builds(work: IndexWork, specs: Sequence[IndexSpec]) -> list[str]:
    """Build the indexes whose build has begun, and return where they are.

    Raises:
        As :func:`build_index`.
    """
    built = []
    for spec in specs:
        recorded = work.recorded(spec)
        is_begun = any(one.state in _BEING_BUILT for one in recorded)
        if is_begun and not any(one.state is IndexState.READY for one in recorded):
            build_index(work, spec)
            built.append(spec.where)
    return built


def rotate_indexes(work: IndexWork, specs: Sequence[IndexSpec]) -> int:
    """Make the tokens of all indexes again, under other DEKs of each tenant, and retire the old DEKs.

    The indexes answer all the time. A rotation that was interrupted goes on to where it was going.

    Args:
        work: takes the steps.
        specs: every index that the application's models declare.

    Returns:
        How many DEKs were retired.

    Raises:
        ConfigurationError: the database has an index that no model declares, or one that is being built.
        KeyUnavailable: the KEKs of some tenants refuse or cannot be reached, or the last rotation was a short
            while ago.
        TamperedError: values do not open; the tokens of the others are made.
    """
    stored = work.catalogue.stored()
    _refuse_others(stored, specs)
    purpose = going_to(stored)
    for spec in specs:
        if all(one.state is IndexState.DROPPED for one in work.recorded(spec)) and work.recorded(spec):
            continue
        purpose = purpose or next_purpose(work, spec)
        rebuild_index(work, spec, purpose)
    if purpose is None:
        return 0
    for spec in specs:
        if any(one.state is IndexState.READY for one in work.recorded(spec)):
            finish_rotation(work, spec)
    return work.keyring.lifecycle.retire_search(other_purpose(purpose))


def _refuse_others(stored: Sequence[StoredIndex], specs: Sequence[IndexSpec]) -> None:
    ours = {(one.schema or "", one.table, one.column, one.index.suffix) for one in specs}
    unknown = [
        one.where
        for one in stored
        if one.state.is_written and (*one.of_table, one.column, one.name) not in ours
    ]
    if unknown:
        raise ConfigurationError(
            f"no model declares {', '.join(unknown)}: call keyring.protect(Base) with the models that do, or "
            "drop these indexes with op.drop_sealed_index; the keys of all indexes are rotated together"
        )
