"""Converts the values of one move from the stored form to the form that replaces it.

A converter depends on the row's tenant and the value's first bytes alone, so it is made once for all values
of a batch that share them. Keys are asked for again for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, String

from sqlalchemy_cmk.columns.compounds import CompoundSearchIndex
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import Database
from sqlalchemy_cmk.errors import ConfigurationError, TamperedError
from sqlalchemy_cmk.format import HEADER_BYTES, NotAuthentic, begins_sealed, is_header
from sqlalchemy_cmk.keys.binding.held_keys import Deks
from sqlalchemy_cmk.rekey.ciphers import Ciphers
from sqlalchemy_cmk.rekey.converters import (
    KEEP,
    UNCHANGED,
    Convert,
    Converter,
    Encode,
    EncodeAll,
    Recode,
    again,
    checking,
    decoded,
    either,
    keep_if_it_opens,
    one_by_one,
    opening,
    sealing,
    through,
)
from sqlalchemy_cmk.rekey.job import Move, context_of
from sqlalchemy_cmk.rekey.joint_tokens import part_opener
from sqlalchemy_cmk.rekey.token_type import TokensOf
from sqlalchemy_cmk.rekey.tokens import token_maker

_PLAIN = b""

_header = itemgetter(slice(HEADER_BYTES))

Read = Callable[[Any], Any]
Make = Callable[[str, Any], Converter]


class MoveValues:
    """Converts the values of one move.

    Args:
        keys: opens the DEKs.
        move: the change.
        database: the kind of database that the values are in.
        only_check: open each value, and change none.

    Attributes:
        known: converters of values, by the row's tenant column and :attr:`name_of` the value.
        name_of: returns what a value is known by: its header where it is sealed.
        converter: makes the converter of a tenant's value, and of others of its name.

    Raises:
        ConfigurationError: the plaintext's form changes in place, where old and new values look alike.
    """

    def __init__(self, keys: Deks, move: Move, database: Database, *, only_check: bool = False) -> None:
        self.known: dict[tuple[Any, Any], Convert] = {}
        self.name_of = _naming(move.opens)
        self._are_headers = self.name_of is _header
        make = _checking(keys, move) if only_check else _maker(keys, move, database)
        self.converter: Make = _accepting_unsealed(keys, move, make, only_check)

    def are_alike(self, values: Sequence[Any]) -> bool:
        """Return whether values have one name; raises an error where one of them is NULL."""
        if self._are_headers:
            # In the order of bytes, all values between the first and the last begin as these two do.
            return bool(_header(min(values)) == _header(max(values)))
        return None not in values and len(set(map(self.name_of, values))) == 1

    def begin(self) -> None:
        """Begin a batch of rows."""
        self.known.clear()

    def convert(
        self, owner: Any, tenant: str, value: Any, nonce: bytes, opening: bytes, sealing: bytes
    ) -> Any:
        """Convert one value and note how, for others like it.

        Args:
            owner: what the row's tenant column holds.
            tenant: the tenant's name.
            value: what is stored.
            nonce: for the new value.
            opening: the row identity to which the stored value is bound.
            sealing: the row identity to which the new value is bound.

        Raises:
            TamperedError: it does not open.
            KeyRevoked: its key is out of reach, as is :class:`KeyUnavailable`.
            InvalidValue: it does not fit the type under which it would be written.
        """
        convert = self.converter(tenant, value).one
        try:
            converted = convert(value, nonce, opening, sealing)
        except NotAuthentic:
            dek = bytes(value[1:HEADER_BYTES]).hex()
            raise TamperedError(
                f"the value was altered, or moved here from another column or row; DEK {dek}"
            ) from None
        if value is not None:  # a JSON null is None as well, and no NULL: each is looked at
            self.known[owner, self.name_of(value)] = convert
        return converted


def _naming(opens: Any) -> Callable[[Any], Any]:
    if not isinstance(opens, EncryptedType):
        return type
    return _header_or_plain if opens.scheme.is_mixed else _header


def _accepting_unsealed(keys: Deks, move: Move, make: Make, only_check: bool) -> Make:
    """Take what a mixed column holds unsealed by its declared type or an old one, and the rest as it is."""
    opens = move.opens
    if not isinstance(opens, EncryptedType) or not opens.scheme.is_mixed:
        return make
    seals = move.seals
    is_plain: Callable[[Any], bool] = partial(_is_plain, keys)
    read: Read = opens.codec.read_plain
    if opens.scheme.accept_legacy:
        is_plain, read = _is_legacy, opens.legacy.read
    if only_check:
        plain = _reading(read, checked=True)
    elif isinstance(seals, EncryptedType):
        encode: Encode = seals.codec.encode_read

        def encode_stored(stored: Any) -> bytes:
            return encode(read(stored))

        plain = _sealing(Ciphers(keys, seals), encode_stored, lambda values: list(map(encode_stored, values)))
    else:
        plain = _reading(read)
    return lambda tenant, stored: (plain if is_plain(stored) else make)(tenant, stored)


def _reading(read: Read, *, checked: bool = False) -> Make:
    """From plain to plain; or read, and left as it is."""

    def convert(stored: Any, *_: bytes) -> Any:
        value = read(stored)
        return UNCHANGED if checked else value

    return lambda tenant, stored: one_by_one(convert)


def _maker(keys: Deks, move: Move, database: Database) -> Make:
    opens, seals = move.opens, move.seals
    if isinstance(opens, EncryptedType) and isinstance(seals, TokensOf):
        context = context_of(opens)
        if isinstance(seals.index, CompoundSearchIndex):
            return part_opener(keys, opens)
        if context is not None:
            return token_maker(keys, database, opens, context, seals)
    if not isinstance(seals, EncryptedType):
        return _opening(Ciphers(keys, opens), opens)  # type: ignore[arg-type]
    new = Ciphers(keys, seals)
    if not isinstance(opens, EncryptedType):
        return _sealing(new, seals.codec.encode_read, seals.codec.encode_all)
    old, recode = Ciphers(keys, opens), _recoding(opens, seals)
    if not move.in_place:
        return _resealing(old, new, recode)
    if recode is not None and not (isinstance(opens.type_, String) and isinstance(seals.type_, String)):
        raise ConfigurationError(
            f"{move.source}: values of another type are not written in place: a run that was interrupted "
            "could not know the new from the old; go through a column of their own"
        )
    return _rekeying(old, new) if _differ_by_dek_only(move, opens, seals) else _moving(old, new, recode)


def _differ_by_dek_only(move: Move, opens: EncryptedType, seals: EncryptedType) -> bool:
    before, after = opens.scheme, seals.scheme
    return (
        context_of(opens) == context_of(seals)
        and (before.suite, before.owner, before.row_bound) == (after.suite, after.owner, after.row_bound)
        and not move.existing_row_columns
    )


def _rekeying(old: Ciphers, new: Ciphers) -> Make:
    """The same plaintext under another DEK: what is under the active one already is left alone."""

    def make(tenant: str, stored: Any) -> Converter:
        cipher = new.sealing(tenant)
        return KEEP if _header(stored) == cipher.header else through(old.opening(tenant, stored), cipher)

    return make


def _moving(old: Ciphers, new: Ciphers, recode: Recode | None) -> Make:
    """Another context, suite, owner or row identity: what opens in the new way already is left alone."""

    def make(tenant: str, stored: Any) -> Converter:
        cipher = new.sealing(tenant)
        try:
            first = through(old.opening(tenant, stored), cipher, recode)
        except TamperedError:
            first = None
        try:
            second = new.opening(tenant, stored)
        except TamperedError:
            if first is None:
                raise
            return first
        is_new = second.header == cipher.header
        as_new = keep_if_it_opens(second) if is_new else again(second, cipher)
        return as_new if first is None else either(first, as_new)

    return make


def _resealing(old: Ciphers, new: Ciphers, recode: Recode | None) -> Make:
    """From one sealed column to another."""
    return lambda tenant, stored: through(old.opening(tenant, stored), new.sealing(tenant), recode)


def _sealing(new: Ciphers, encode: Encode, encode_all: EncodeAll) -> Make:
    """From plain to sealed."""
    return lambda tenant, value: sealing(new.sealing(tenant), encode, encode_all)


def _opening(old: Ciphers, opens: EncryptedType) -> Make:
    """From sealed to plain."""
    read: Read = partial(decoded, opens.codec.decode)
    if isinstance(opens.type_, JSON):
        inner = read

        def read(plaintext: bytes) -> Any:
            return as_json(inner(plaintext))

    return lambda tenant, stored: opening(old.opening(tenant, stored), read)


def _checking(keys: Deks, move: Move) -> Make:
    """Open every value, down to its Python form, or encode a plain one, and change none."""
    type_: Any = move.opens
    if isinstance(move.seals, EncryptedType) and not move.opens_sealed:
        return _encoding(move.seals.codec.encode)
    make = _opening(Ciphers(keys, type_), type_)
    return lambda tenant, stored: checking(make(tenant, stored))


def _encoding(encode: Callable[[Any], bytes]) -> Make:
    """Leave a plain value as it is, if it fits the type under which it would be sealed."""

    def check(value: Any, *_: bytes) -> Any:
        encode(value)
        return UNCHANGED

    return lambda tenant, value: one_by_one(check)


def as_json(value: Any) -> Any:
    """Return a JSON value for what binds it, which takes ``None`` for NULL."""
    return JSON.NULL if value is None else value


def _recoding(opens: EncryptedType, seals: EncryptedType) -> Recode | None:
    """Return what turns a plaintext of the old type into one of the new; ``None`` if they are the same."""
    if repr(opens.type_) == repr(seals.type_) and opens.scheme.deterministic is seals.scheme.deterministic:
        return None
    decode, encode = opens.codec.decode, seals.codec.encode_read
    return lambda plaintext: encode(decoded(decode, plaintext))


def _header_or_plain(stored: Any) -> Any:
    """Return a value's header if it may be sealed; one name for all that cannot be."""
    begin = bytes(stored[:HEADER_BYTES]) if isinstance(stored, bytes | memoryview) else _PLAIN
    return begin if is_header(begin) else _PLAIN


def _is_legacy(stored: Any) -> bool:
    return not begins_sealed(stored)


def _is_plain(keys: Deks, stored: Any) -> bool:
    """Return whether a value names no DEK that exists or did, so that it is what the column held before."""
    header = _header_or_plain(stored)
    return header == _PLAIN or keys.dek(header[1:]) is None
