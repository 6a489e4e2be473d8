"""An async driver's connection as SQLAlchemy has it: it never ends the caller's transaction."""

from __future__ import annotations

from sqlalchemy_cmk.dbapi.lent import Passing


class _Lent(Passing):
    """Passes everything on but closing."""

    async def close(self, **_: object) -> None:
        """Do nothing: the connection is the caller's."""

    def terminate(self) -> None:
        """Do nothing: the connection is the caller's."""


class LentAiosqlite(_Lent):
    """Passes everything on but the end of a transaction, and closing."""

    async def commit(self) -> None:
        """Commit, if the caller does."""
        if self._passes:
            await self._raw.commit()

    async def rollback(self) -> None:
        """Roll back, if the caller does."""
        if self._passes:
            await self._raw.rollback()


class LentAsyncpg(_Lent):
    """Passes everything on but transactions, the types' codecs, which are the caller's, and closing."""

    def transaction(self, **_: object) -> _NoTransaction:
        """Return a transaction that does nothing: statements run in the caller's, if there is one."""
        return _NoTransaction()

    async def set_type_codec(self, *_: object, **__: object) -> None:
        """Do nothing: SQLAlchemy would read JSON in its own way."""


class _NoTransaction:
    async def start(self) -> None:
        pass

    async def commit(self) -> None:
        pass

    async def rollback(self) -> None:
        pass
