"""Which indexes have tokens under the DEKs of a purpose. See :class:`TokenUsers`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import MetaData

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys.declarations import declared_indexes
from sqlalchemy_cmk.keys.indexes.catalogue import IndexCatalogue
from sqlalchemy_cmk.keys.indexes.records import IndexView, StoredIndex
from sqlalchemy_cmk.keys.model import Purpose

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TokenUser:
    """A hidden column with tokens under DEKs of some purpose.

    Attributes:
        where: ``table.hidden column``.
        begun: when its first token may have been written (UTC).
    """

    where: str
    begun: datetime


class TokenUsers:
    """Finds the hidden columns whose tokens are under DEKs of a purpose.

    A token does not name its DEK. So a DEK is needed while there is an index that may have tokens under it.

    Args:
        catalogue: the indexes that are recorded.
        protected: returns every metadata whose tables have such columns in this database.
    """

    def __init__(self, catalogue: IndexCatalogue, protected: Callable[[], Iterable[MetaData]]) -> None:
        self._catalogue = catalogue
        self._protected = protected

    def of(self, purpose: Purpose) -> list[TokenUser]:
        """Return the hidden columns with tokens under DEKs of a purpose.

        Raises:
            ConfigurationError: no metadata is protected, so that it is not known which tables there are.
        """
        stored, metadatas = self._catalogue.stored(), list(self._protected())
        if not metadatas:
            raise ConfigurationError(
                "it is not known which tables have search indexes: call keyring.protect(Base) with the "
                "models first"
            )
        recorded = {(one.schema, one.table, one.column, one.name) for one in stored}
        users = [
            TokenUser(one.where, one.begun)
            for one in stored
            if one.purpose is purpose and one.state.is_written
        ]
        if purpose is Purpose.SEARCH:
            # What nobody has recorded was made together with its table.
            declared = (one for metadata in metadatas for find in declared_indexes for one in find(metadata))
            users += [TokenUser(one.where, _EARLIEST) for one in declared if one.identity not in recorded]
        return users

    def written(self) -> set[tuple[bool, Purpose]]:
        """Return under whose DEKs of which purposes the declared indexes write tokens.

        Returns:
            Pairs of whether they are the tenants', and the purpose.
        """
        declared = [
            one for metadata in self._protected() for find in declared_indexes for one in find(metadata)
        ]
        if not declared:
            return set()
        recorded: dict[tuple[str, str, str, str], list[StoredIndex]] = {}
        for of_table in self._view().by_table.values():
            for stored in of_table:
                identity = stored.schema, stored.table, stored.column, stored.name
                recorded.setdefault(identity, []).append(stored)
        found = set()
        for one in declared:
            slots = recorded.get(one.identity)
            purposes = [s.purpose for s in slots if s.state.is_written] if slots else [Purpose.SEARCH]
            found |= {(one.is_tenants, purpose) for purpose in purposes}
        return found

    def _view(self) -> IndexView:
        try:
            return self._catalogue.view()
        except KeyUnavailable:  # keys that are open serve on in an outage of the key tables
            return self._catalogue.last_view

    def refuse_rotation(self, purpose: Purpose) -> None:
        """Refuse a new DEK in place of one under which there are tokens: questions would miss their rows.

        Raises:
            ConfigurationError: there are.
        """
        users = self.of(purpose) if purpose.is_for_tokens else []
        if users:
            raise ConfigurationError(
                f"the tokens of {', '.join(one.where for one in users)} are under this key: with another "
                "one, the rows that are there would not be found. Nothing was changed: cmk rekey indexes "
                "--rotate, or op.rebuild_sealed_index, makes the tokens of all rows under new keys"
            )
