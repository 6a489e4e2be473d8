"""One move's values, from what is stored to what is stored instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import String

from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue, TamperedError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose
from sqlalchemy_cmk.rekey.job import Move, context_of
from sqlalchemy_cmk.sealing import (
    HEADER_BYTES,
    ColumnCipher,
    NotAuthentic,
    NotSealed,
    Open,
    Seal,
    header_of,
    parse_header,
)
from sqlalchemy_cmk.types import EncryptedType

UNCHANGED = object()
MOST_CIPHERS = 2048

Convert = Callable[[str, Any], Any]


class Ciphers:
    """The ciphers of one column under the DEKs of many tenants, for one batch of rows.

    Keys are asked of the keyring anew for each batch: what expired or was revoked meanwhile is noticed.
    """

    def __init__(self, keyring: Keyring, type_: EncryptedType) -> None:
        self._keyring = keyring
        self._suite = type_.suite
        self._purpose = Purpose.of(type_.suite)
        self._context = str(context_of(type_))
        self._made: dict[bytes, tuple[OpenedDek, ColumnCipher]] = {}
        self._sealers: dict[str, tuple[bytes, Seal]] = {}
        self._openers: dict[tuple[str, bytes], Open] = {}

    def begin(self) -> None:
        """Begin a batch."""
        self._sealers.clear()
        self._openers.clear()

    def sealer(self, tenant: str) -> tuple[bytes, Seal]:
        """Return the header of values under a tenant's active DEK, and what seals under it."""
        found = self._sealers.get(tenant)
        if found is None:
            cipher = self._cipher(self._keyring.active(tenant, self._purpose))
            found = self._sealers[tenant] = cipher.header, cipher.seal
        return found

    def opener(self, tenant: str, stored: Any) -> Open:
        """Return what opens a stored value of a tenant's row.

        Raises:
            TamperedError: it is not sealed, not in this way, or not for this tenant.
            KeyRevoked: its key is out of reach, as is :class:`KeyUnavailable`.
        """
        found = self._openers.get((tenant, stored[:HEADER_BYTES])) if isinstance(stored, bytes) else None
        return found or self._opener(tenant, stored)

    def _opener(self, tenant: str, stored: Any) -> Open:
        try:
            suite, dek_id = parse_header(stored)
        except NotSealed as error:
            raise TamperedError(f"the stored value is not sealed: {error}") from None
        dek = self._keyring.dek(dek_id)
        if dek is None:
            raise TamperedError(f"there is no DEK {dek_id.hex()}")
        if dek.tenant != tenant:
            raise TamperedError(
                f"a row of tenant {tenant!r} holds a value sealed for {dek.tenant!r} under DEK {dek_id.hex()}"
            )
        if suite is not self._suite or dek.purpose is not self._purpose:
            raise TamperedError(f"it is sealed in another way than the column's, DEK {dek_id.hex()}")
        open_ = self._openers[tenant, header_of(suite, dek_id)] = self._cipher(dek).open
        return open_

    def _cipher(self, dek: OpenedDek) -> ColumnCipher:
        made = self._made.get(dek.id)
        if made is None or made[0] is not dek:
            if len(self._made) >= MOST_CIPHERS:
                self._made.clear()
            made = self._made[dek.id] = dek, dek.cipher(self._context)
        return made[1]


class MoveValues:
    """Converts the values of one move.

    Args:
        keyring: opens the DEKs.
        move: what happens to the values.
        only_check: open each value, and change none.

    Raises:
        ConfigurationError: the plaintext's form changes in place, where no one could tell old from new.
    """

    def __init__(self, keyring: Keyring, move: Move, *, only_check: bool = False) -> None:
        self._move = move
        self._ciphers = [
            Ciphers(keyring, type_) for type_ in (move.opens, move.seals) if isinstance(type_, EncryptedType)
        ]
        self.convert: Convert = _checking(self._ciphers[0], move.opens) if only_check else self._chosen()

    def begin(self) -> None:
        """Begin a batch of rows."""
        for ciphers in self._ciphers:
            ciphers.begin()

    def _chosen(self) -> Convert:
        opens, seals = self._move.opens, self._move.seals
        if not isinstance(seals, EncryptedType):
            return _opening(self._ciphers[0], opens)
        if not isinstance(opens, EncryptedType):
            return _sealing(self._ciphers[0], seals.codec.encode)
        if not self._move.in_place:
            return _resealing(self._ciphers[0], self._ciphers[1], _recoded(opens, seals))
        if _recoded(opens, seals) is not None and not _both_text(opens, seals):
            raise ConfigurationError(
                f"{self._move.source}: values of another type are not written in place: a run that was "
                "interrupted could not tell the new from the old; go through a column of their own"
            )
        old, new = self._ciphers
        if context_of(opens) == context_of(seals) and opens.suite is seals.suite:
            return _rekeying(old, new)
        return _moving(old, new, _recoded(opens, seals))


Recode = Callable[[bytes], bytes]


def _rekeying(old: Ciphers, new: Ciphers) -> Convert:
    """The same plaintext under another DEK: what is under the active one already is left alone."""

    def convert(tenant: str, stored: Any) -> Any:
        header, seal = new.sealer(tenant)
        if stored[:HEADER_BYTES] == header:
            return UNCHANGED
        try:
            return seal(old.opener(tenant, stored)(stored))
        except NotAuthentic:
            pass
        raise _altered(stored)

    return convert


def _moving(old: Ciphers, new: Ciphers, recode: Recode | None) -> Convert:
    """Another context, or another suite: what opens in the new way already is left alone."""

    def convert(tenant: str, stored: Any) -> Any:
        header, seal = new.sealer(tenant)
        try:
            plaintext = old.opener(tenant, stored)(stored)
        except (NotAuthentic, TamperedError) as error:
            problem = error
        else:
            return seal(recode(plaintext) if recode else plaintext)
        try:
            plaintext = new.opener(tenant, stored)(stored)
        except (NotAuthentic, TamperedError):
            raise problem if isinstance(problem, TamperedError) else _altered(stored) from None
        return UNCHANGED if stored[:HEADER_BYTES] == header else seal(plaintext)

    return convert


def _resealing(old: Ciphers, new: Ciphers, recode: Recode | None) -> Convert:
    """From one sealed column to another."""

    def convert(tenant: str, stored: Any) -> Any:
        try:
            plaintext = old.opener(tenant, stored)(stored)
        except NotAuthentic:
            raise _altered(stored) from None
        return new.sealer(tenant)[1](recode(plaintext) if recode else plaintext)

    return convert


def _sealing(new: Ciphers, encode: Callable[[Any], bytes]) -> Convert:
    """From plain to sealed."""

    def convert(tenant: str, value: Any) -> Any:
        return new.sealer(tenant)[1](encode(value))

    return convert


def _opening(old: Ciphers, opens: Any) -> Convert:
    """From sealed to plain."""
    decode = opens.codec.decode

    def convert(tenant: str, stored: Any) -> Any:
        try:
            return _decoded(decode, old.opener(tenant, stored)(stored))
        except NotAuthentic:
            raise _altered(stored) from None

    return convert


def _checking(old: Ciphers, opens: Any) -> Convert:
    """Open every value, down to its Python form, and change none."""
    to_python = _opening(old, opens)

    def convert(tenant: str, stored: Any) -> Any:
        to_python(tenant, stored)
        return UNCHANGED

    return convert


def _recoded(opens: EncryptedType, seals: EncryptedType) -> Recode | None:
    """Return what turns a plaintext of the old type into one of the new; ``None`` where they are the same."""
    if repr(opens.type_) == repr(seals.type_) and opens.deterministic is seals.deterministic:
        return None
    decode, encode = opens.codec.decode, seals.codec.encode
    return lambda plaintext: encode(_decoded(decode, plaintext))


def _decoded(decode: Callable[[bytes], Any], plaintext: bytes) -> Any:
    try:
        return decode(plaintext)
    except InvalidValue:
        raise
    except Exception as error:
        kind = type(error).__name__
    raise TamperedError(f"the opened bytes are no value of the declared type ({kind})")


def _both_text(opens: EncryptedType, seals: EncryptedType) -> bool:
    return isinstance(opens.type_, String) and isinstance(seals.type_, String)


def _altered(stored: bytes) -> TamperedError:
    return TamperedError(
        "the value was altered, or moved here from another column or row; "
        f"DEK {bytes(stored[1:HEADER_BYTES]).hex()}"
    )
