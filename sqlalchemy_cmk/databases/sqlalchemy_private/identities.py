"""Objects that a session finds in its identity map: no statement is sent for them, and no event fires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, PassiveFlag, Session
from sqlalchemy.orm.base import LoaderCallableStatus

Check = Callable[[InstanceState[Any], bool], None]


def watch_lookups(check: Check) -> None:
    """Have every session, also of a subclass, check objects that it finds in its identity map.

    Args:
        check: called with the state of each one that ``get``, a many-to-one relationship or ``merge`` finds,
            and whether attributes may be loaded now. What it raises, the caller gets.
    """
    look_up = Session._identity_lookup

    def checked_lookup(
        session: Session,
        mapper: Any,
        primary_key_identity: Any,
        identity_token: Any = None,
        passive: PassiveFlag = PassiveFlag.PASSIVE_OFF,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        found = look_up(session, mapper, primary_key_identity, identity_token, passive, *args, **kwargs)
        if found is not None and not isinstance(found, LoaderCallableStatus):
            check(inspect(found), bool(passive & PassiveFlag.SQL_OK))
        return found

    Session._identity_lookup = checked_lookup  # type: ignore[method-assign, assignment]


def watch_merges(check: Check, check_given: Callable[[InstanceState[Any]], None]) -> None:
    """Have every session, also of a subclass, check what it merges before anything is copied.

    Args:
        check: as for :func:`watch_lookups`, for the object that the session has already.
        check_given: called with the state of each object that is merged into the session.
    """
    merge = Session._merge

    def checked_merge(session: Session, state: Any, *args: Any, **kwargs: Any) -> Any:
        check_given(state)
        key = state.key
        if key is None:
            key = state.mapper.identity_key_from_instance(state.obj())
        found = session.identity_map.get(key)
        if found is not None:
            check(inspect(found), True)
        return merge(session, state, *args, **kwargs)

    Session._merge = checked_merge  # type: ignore[method-assign, assignment]
