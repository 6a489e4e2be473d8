"""A driver's connection as SQLAlchemy has it: it never ends the caller's transaction. See :class:`Lent`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Any

from sqlalchemy import Connection, PoolProxiedConnection, StaticPool, create_engine

from sqlalchemy_cmk.databases.sql_text import DRIVERS, OPTIONS
from sqlalchemy_cmk.errors import ConfigurationError


class Passing:
    """Passes everything on, and says whether the end of a transaction passes too.

    Args:
        raw: the driver's connection.
    """

    def __init__(self, raw: Any) -> None:
        object.__setattr__(self, "_raw", raw)
        object.__setattr__(self, "_passes", False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._raw, name, value)

    @contextmanager
    def passing_on(self) -> Iterator[None]:
        """Let commits and rollbacks pass in the block."""
        object.__setattr__(self, "_passes", True)
        try:
            yield
        finally:
            object.__setattr__(self, "_passes", False)


class Lent(Passing):
    """Passes everything on but the end of a transaction, and closing."""

    def commit(self) -> None:
        """Commit, if the caller does."""
        if self._passes:
            self._raw.commit()

    def rollback(self) -> None:
        """Roll back, if the caller does."""
        if self._passes:
            self._raw.rollback()

    def close(self) -> None:
        """Do nothing: the connection is the caller's."""


def driver_of(raw: Any, drivers: Mapping[str, str] = DRIVERS) -> str:
    """Return how SQLAlchemy calls the driver of a connection.

    Args:
        raw: the driver's connection.
        drivers: those that may be, by their modules.

    Raises:
        ConfigurationError: it is none of those that may be.
    """
    named = {kind.__module__.partition(".")[0] for kind in type(raw).__mro__}
    known = [drivers[one] for one in drivers if one in named]
    is_async = iscoroutinefunction(getattr(raw, "commit", None))  # psycopg has connections of both kinds
    if known and (drivers is not DRIVERS or not is_async):
        return known[0]
    other = "wrap_async()" if drivers is DRIVERS else "wrap()"
    raise ConfigurationError(
        f"a connection of type {type(raw).__module__}.{type(raw).__name__} cannot be wrapped: give one of "
        f"{', '.join(drivers)}; {other} has others"
    )


def bound_to(raw: Any) -> tuple[Lent, Connection]:
    """Return a driver's connection as SQLAlchemy has it, and SQLAlchemy's connection over it."""
    own = drivers_own(raw)
    driver = driver_of(own)
    lent = Lent(own)
    engine = create_engine(
        f"{driver}://",
        creator=lambda: lent,
        poolclass=StaticPool,
        pool_reset_on_return=None,
        **OPTIONS.get(driver, {}),
    )
    return lent, engine.connect()


@contextmanager
def without_transaction(raw: Any) -> Iterator[None]:
    """End the transaction that queries of the block began, where none was under way before."""
    before = in_transaction(raw)
    try:
        yield
    finally:
        if before is False and in_transaction(raw):
            raw.rollback()


def drivers_own(raw: Any) -> Any:
    """Return the driver's connection, also of one that a pool has lent."""
    return raw.driver_connection if isinstance(raw, PoolProxiedConnection) else raw


def in_transaction(raw: Any) -> bool | None:
    """Return whether a transaction is under way; ``None`` if the driver does not say."""
    raw = drivers_own(raw)
    if hasattr(raw, "in_transaction"):
        return bool(raw.in_transaction)
    if hasattr(raw, "info") and hasattr(raw.info, "transaction_status"):
        return bool(raw.info.transaction_status != 0)
    if hasattr(raw, "server_status"):
        return bool(raw.server_status & 1)
    return None
