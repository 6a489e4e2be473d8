"""Under which DEKs the tokens of an index are made again: fresh ones, the same for all indexes of a rotation.

Tokens go from one purpose to the other and, by the next rotation, back. The DEKs of a purpose that no index
has tokens under are retired, so that each tenant gets a new one when tokens are made under it again.
"""

from __future__ import annotations

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.keys.indexes.records import IndexState, other_purpose
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.rekey.indexes.spec import IndexSpec
from sqlalchemy_cmk.rekey.indexes.work import IndexWork


def next_purpose(work: IndexWork, spec: IndexSpec) -> Purpose:
    """Return the purpose under whose DEKs an index's tokens are made again.

    A rotation that was interrupted goes on to where it was going, and so do all indexes of one rotation.

    Raises:
        ConfigurationError: another index still has tokens under DEKs of that purpose, from before.
    """
    recorded = work.recorded(spec)
    ready = next((one for one in recorded if one.state is IndexState.READY), None)
    now = Purpose.SEARCH if ready is None else ready.purpose
    new = other_purpose(now)
    if any(one.purpose is new and one.state.is_written for one in recorded):
        return new
    users = work.keyring.keys.token_users.of(new)
    older = [one.where for one in users if ready is None or one.begun < ready.begun]
    if older:
        raise ConfigurationError(
            f"{spec.where}: {', '.join(older)} still have the tokens that they had before the last rotation: "
            "rotate these indexes first, so that all of them go to the same new keys"
        )
    if not users and work.keyring.store.has_active(new):
        work.keyring.lifecycle.retire_search(new)
    return new
