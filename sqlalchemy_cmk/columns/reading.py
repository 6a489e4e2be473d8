"""Opens one column's values for one fetch. See :class:`ColumnReader`.

A batch of values is opened by loops that run in C. What they stumble over is opened again one by one, with an
error that names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sqlalchemy_cmk.ciphers import Opener, open_all, open_each
from sqlalchemy_cmk.codec import NO_VALUE
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.plain import PlainReader
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.errors import (
    CmkError,
    CredentialError,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
)
from sqlalchemy_cmk.format import HEADER_BYTES, begins_sealed, header_part, is_header
from sqlalchemy_cmk.keys.binding.held_keys import Deks, Holders
from sqlalchemy_cmk.keys.binding.protection import keyrings_of

MAX_UNKNOWN_HEADERS = 10_000

# Ciphers that a batch keeps, of more than 2 KiB each. The values of further keys have one made for each.
MAX_HOT = 512
# Keys that a batch keeps; with more, it starts over.
MAX_OPENERS = 16_384


@dataclass(slots=True)
class Owners:
    """Whose values a batch holds.

    Attributes:
        name: returns the owner's name for what a row's tenant column holds, agreed with the scope. ``None``
            where no owner is known, and the keyring lets values be read without one.
        held: what the tenant column of each row holds; ``None`` if one owner has all rows, found by
            ``name(None)``.
        row_says: whether the rows themselves name their owner; otherwise a scope or the statement does.
    """

    name: Callable[[Hashable], str | None]
    held: Sequence[Hashable] | None = None
    row_says: bool = False


def reader_of(column: SealedColumn, connection: Connection, holders: Holders) -> ColumnReader | PlainReader:
    """Return what opens a column's values for one fetch; in a dry run what only checks whose they are.

    Args:
        column: the column.
        connection: where the rows come from.
        holders: what the fetch holds of its keys.
    """
    if column.dry_run is None:
        return ColumnReader(column, holders[column.keys_on(connection)])
    return PlainReader(
        column.dry_run, any(one.reads_without_tenant for one in keyrings_of(column.table.metadata))
    )


class ColumnReader:
    """Opens values of one column, for as long as one fetch takes.

    Args:
        column: the column.
        keys: the keys of the database that the values come from.

    Attributes:
        lenient: whether the keyring lets values be read without an owner.
    """

    __slots__ = (
        "_column",
        "_column_keys",
        "_decode",
        "_entitled",
        "_is_tenants",
        "_keys",
        "_openers",
        "_refused",
        "_unknown",
        "lenient",
    )

    def __init__(self, column: SealedColumn, keys: Deks) -> None:
        self._column = column
        self.lenient = keys.reads_without_tenant
        self._keys = keys
        self._column_keys = column.ciphers(keys)
        self._is_tenants = column.is_tenants
        self._decode: Callable[[bytes], Any] = bytes.decode if column.codec.text else column.codec.decode
        # What this batch has checked: owners with headers, and what opens these.
        self._openers: dict[tuple[Hashable, bytes], Opener] = {}
        # What the KEKs refused during this fetch: asked once, not once for every value.
        self._refused: dict[bytes, KeyRevoked | KeyUnavailable | CredentialError] = {}
        # Owners whose key opens, for values that only another library's key protects.
        self._entitled: set[str] = set()
        # What looked like a header, and named no DEK: plaintext that begins so.
        self._unknown: set[bytes] = set()

    def end(self) -> None:
        """End a batch: the next checks its keys again, and none stays in memory while rows are awaited."""
        self._entitled.clear()
        self._openers.clear()

    def read(
        self, values: Sequence[Any], owners: Owners, identities: Sequence[bytes] | None = None
    ) -> Sequence[Any]:
        """Return the values of a batch of stored ones, or of a part of it.

        Args:
            values: as the driver gives them.
            owners: whose they are.
            identities: the row identity of each; ``None`` if the column is not row-bound.

        Raises:
            TamperedError: a value is not what this column sealed for its owner and row.
            TenantRequired: a value's owner is not known.
            TenantMismatch: the scope names another owner.
            KeyRevoked: a key is revoked, and the column raises on that.
            KeyUnavailable: a KEK or the key tables cannot be reached.
        """
        if not self._column.scheme.accept_plaintext:
            try:
                return self._read_together(values, owners, identities)
            except Exception:  # noqa: S110
                # NULLs, or what is named below, value by value: a decoder's error may hold a plaintext.
                pass
        else:
            self._open_ahead(values)
        if None in values:
            return self._read_around_nulls(values, owners, identities)
        return self._read_each(values, owners, identities)

    def _read_around_nulls(
        self, values: Sequence[Any], owners: Owners, identities: Sequence[bytes] | None
    ) -> list[Any]:
        at = [i for i, value in enumerate(values) if value is not None]
        found = list(values)
        if at:
            held = owners.held and [owners.held[i] for i in at]
            some = Owners(owners.name, held, owners.row_says)
            opened = self.read([values[i] for i in at], some, identities and [identities[i] for i in at])
            for i, value in zip(at, opened, strict=True):
                found[i] = value
        return found

    def _read_together(
        self, values: Sequence[Any], owners: Owners, identities: Sequence[bytes] | None
    ) -> list[Any]:
        held = owners.held
        if held is None or held.count(held[0]) == len(held):
            one = None if held is None else held[0]
            header = header_part(min(values))
            # In the order of bytes, all values between the first and the last begin as these two do.
            if max(values).startswith(header):
                if (one, header) not in self._openers:
                    self._check([(one, header)], owners)
                return list(map(self._decode, open_all(self._openers[one, header], values, identities)))
            held = [one] * len(values)
        openers = self._openers_of(held, values, owners)
        return list(map(self._decode, open_each(openers, values, identities)))

    def _openers_of(self, held: Sequence[Hashable], values: Sequence[bytes], owners: Owners) -> list[Opener]:
        """Return what opens each value, each pair of an owner and a header checked once for a batch."""
        pairs = list(zip(held, map(header_part, values), strict=True))
        try:
            return list(map(self._openers.__getitem__, pairs))
        except KeyError:
            pass
        if len(self._openers) > MAX_OPENERS:
            self._openers.clear()
        self._check([one for one in dict.fromkeys(pairs) if one not in self._openers], owners)
        return list(map(self._openers.__getitem__, pairs))

    def _check(self, pairs: Iterable[tuple[Hashable, bytes]], owners: Owners) -> None:
        """Check that the DEKs of headers open for their owners; have an opener for each pair whose DEK does.

        The DEKs are opened side by side. All may be used after the waiting, however long one has taken.
        """
        named = [
            (held, header, owners.name(held))
            for held, header in pairs
            if len(header) == HEADER_BYTES and header not in self._refused
        ]
        for *_, owner in named:
            self._require_owner(owner)
        opened = self._keys.open_all(header[1:] for _, header, _ in named)
        for held, header, owner in named:
            hot = len(self._openers) < MAX_HOT
            try:
                opener = self._column_keys.opener(header, owner, opened, hot=hot, row_says=owners.row_says)
            except (KeyRevoked, KeyUnavailable, CredentialError) as error:
                # The KEK was asked, perhaps until a time-out: it is not asked again for each value.
                self._refused[header] = copy(error)
            except CmkError:
                pass  # named where its value is read by itself
            else:
                self._openers[held, header] = opener

    def _read_each(
        self, values: Sequence[Any], owners: Owners, identities: Sequence[bytes] | None
    ) -> list[Any]:
        held = owners.held or [None] * len(values)
        bound = identities or [b""] * len(values)
        return [
            self.read_one(value, owners.name(one), identity, row_says=owners.row_says)
            for value, one, identity in zip(values, held, bound, strict=True)
        ]

    def read_one(
        self, stored: Any, owner: str | None, identity: bytes = b"", *, row_says: bool = True
    ) -> Any:
        """Return one value, with every check; raises as :meth:`read` does."""
        if stored is None:
            return None
        sealed = bytes(stored) if isinstance(stored, memoryview | bytearray) else stored
        if self._column.scheme.accept_plaintext and not self._names_a_dek(sealed):
            return self._read_plain(sealed)
        self._require_owner(owner)
        if self._column.scheme.accept_legacy and not begins_sealed(sealed):
            return self._read_legacy(sealed, owner)
        header = sealed[:HEADER_BYTES] if isinstance(sealed, bytes) else b""
        try:
            if header in self._refused:
                # Copies have no traceback, whose frames would be kept and shared between threads.
                raise copy(self._refused[header])
            plaintext = self._column_keys.open(sealed, owner, identity, row_says=row_says)
        except KeyRevoked as error:
            self._refused[header] = copy(error)
            if self._column.scheme.on_revoked == "seal":
                context = str(self._column.context)
                return Sealed(error.tenant or owner or "?", context, str(error), sealed, identity)
            raise
        except (KeyUnavailable, CredentialError) as error:
            self._refused[header] = copy(error)
            raise
        except TamperedError:
            if owner is not None:
                self._keys.found_altered(owner, str(self._column.where))
            raise
        return self._decoded(plaintext, header)

    def _require_owner(self, owner: str | None) -> None:
        if owner == "" and self._is_tenants:
            raise TamperedError(
                f"{self._column.where}: a row whose tenant column is empty holds a sealed value: the row was "
                "altered past this library"
            )

    def _names_a_dek(self, stored: Any) -> bool:
        """Return whether a stored value begins as one that is sealed under a DEK that exists, or did."""
        header = stored[:HEADER_BYTES] if isinstance(stored, bytes) else b""
        if not is_header(header) or header in self._unknown:
            return False
        if header in self._refused:
            return True
        try:
            found = self._keys.dek(header[1:]) is not None
        except (KeyRevoked, TamperedError):
            return True
        if not found:
            self._note_unknown(header)
        return found

    def _note_unknown(self, header: bytes) -> None:
        if len(self._unknown) >= MAX_UNKNOWN_HEADERS:
            self._unknown.clear()
        self._unknown.add(header)

    def _open_ahead(self, values: Sequence[Any]) -> None:
        """Open the keys of values side by side that may be plaintext: all that look like headers."""
        begins = dict.fromkeys(value[:HEADER_BYTES] for value in values if isinstance(value, bytes))
        known = self._unknown | self._refused.keys()
        headers = [one for one in begins if one not in known and is_header(one)]
        if len(headers) < 2:
            return
        opened = self._keys.open_all(header[1:] for header in headers)
        for header in headers:
            try:
                if opened[header[1:]] is None:
                    self._note_unknown(header)
            except (KeyUnavailable, CredentialError) as error:
                self._refused[header] = copy(error)
            except (KeyRevoked, TamperedError):
                pass

    def _read_plain(self, stored: Any) -> Any:
        reason = ""
        try:
            return self._column.codec.read_plain(stored)
        except TamperedError as error:
            reason = str(error)
        raise TamperedError(f"{self._column.where}: {reason}")

    def _read_legacy(self, stored: Any, owner: str | None) -> Any:
        """Return a value that another library's type has written, while its owner's own key opens.

        The old key is the application's, and knows nothing of a tenant's revocation.
        """
        if owner is not None and owner not in self._entitled:
            try:
                self._column_keys.comparing(owner)
            except KeyRevoked as error:
                if self._column.scheme.on_revoked == "seal":
                    raw = stored.encode() if isinstance(stored, str) else stored
                    return Sealed(error.tenant or owner, str(self._column.context), str(error), raw)
                raise
            self._entitled.add(owner)
        reason = ""
        try:
            return self._column.legacy.read(stored)
        except TamperedError as error:
            reason = str(error)
        raise TamperedError(f"{self._column.where}: {reason}")

    def _decoded(self, plaintext: bytes, header: bytes) -> Any:
        reason = ""
        try:
            return self._decode(plaintext)
        except NO_VALUE as error:
            reason = type(error).__name__
        raise TamperedError(
            f"{self._column.where}: the opened bytes are not a value of the declared type ({reason}); "
            f"DEK {header[1:].hex()}"
        )
