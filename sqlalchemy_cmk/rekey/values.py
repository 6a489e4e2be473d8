"""One move's values, from what is stored to what is stored instead.

What converts a value depends on its row's tenant and on its first bytes alone, so it is made once for all
values of a batch that share them. Keys are asked of the keyring anew for each batch.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from sqlalchemy import JSON, String

from sqlalchemy_cmk.errors import ConfigurationError, InvalidValue, TamperedError
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.rekey.ciphers import Ciphers
from sqlalchemy_cmk.rekey.job import Move, context_of
from sqlalchemy_cmk.rekey.mixed import header_or_plain, is_plain
from sqlalchemy_cmk.sealing import HEADER_BYTES, ColumnCipher, NotAuthentic
from sqlalchemy_cmk.types import EncryptedType

UNCHANGED = object()

_header = itemgetter(slice(HEADER_BYTES))

# A value, and a nonce under which nothing was sealed, for the new one.
Convert = Callable[[Any, bytes], Any]
Read = Callable[[Any], Any]
Make = Callable[[str, Any], Convert]
Recode = Callable[[bytes], bytes]


class MoveValues:
    """Converts the values of one move.

    Args:
        keyring: opens the DEKs.
        move: what happens to the values.
        only_check: open each value, and change none.

    Attributes:
        known: what converts values, by the row's tenant column and :attr:`name_of` the value.
        name_of: what a value is known by: its header where it is sealed.
        converter: makes what converts a tenant's value, and others of its name.

    Raises:
        ConfigurationError: the plaintext's form changes in place, where no one could tell old from new.
    """

    def __init__(self, keyring: Keyring, move: Move, *, only_check: bool = False) -> None:
        self.known: dict[tuple[Any, Any], Convert] = {}
        self.name_of = _naming(move.opens)
        make = _checking(keyring, move) if only_check else _maker(keyring, move)
        self.converter: Make = _accepting_plaintext(keyring, move, make, only_check)

    def begin(self) -> None:
        """Begin a batch of rows."""
        self.known.clear()

    def convert(self, owner: Any, tenant: str, value: Any, nonce: bytes) -> Any:
        """Convert one value and note how, for others like it.

        Raises:
            TamperedError: it does not open.
            KeyRevoked: its key is out of reach, as is :class:`KeyUnavailable`.
            InvalidValue: it does not fit the type under which it would be written.
        """
        convert = self.converter(tenant, value)
        try:
            converted = convert(value, nonce)
        except NotAuthentic:
            dek = bytes(value[1:HEADER_BYTES]).hex()
            raise TamperedError(
                f"the value was altered, or moved here from another column or row; DEK {dek}"
            ) from None
        if value is not None:  # a JSON null is None as well, and no NULL: they are told apart slowly
            self.known[owner, self.name_of(value)] = convert
        return converted


def _naming(opens: Any) -> Callable[[Any], Any]:
    if not isinstance(opens, EncryptedType):
        return type
    return header_or_plain if opens.accept_plaintext else _header


def _accepting_plaintext(keyring: Keyring, move: Move, make: Make, only_check: bool) -> Make:
    """Take what a mixed column holds unsealed by its declared type, and the rest as it is."""
    opens = move.opens
    if not isinstance(opens, EncryptedType) or not opens.accept_plaintext:
        return make
    read, seals = opens.codec.read_plain, move.seals
    if only_check:
        plain = _reading(read, checked=True)
    elif isinstance(seals, EncryptedType):
        encode = seals.codec.encode
        plain = _sealing(Ciphers(keyring, seals), lambda stored: encode(read(stored)))
    else:
        plain = _reading(read)
    return lambda tenant, stored: (plain if is_plain(keyring, stored) else make)(tenant, stored)


def _reading(read: Read, *, checked: bool = False) -> Make:
    """From plain to plain; or read, and left as it is."""

    def convert(stored: Any, _: bytes) -> Any:
        value = read(stored)
        return UNCHANGED if checked else value

    return lambda tenant, stored: convert


def _maker(keyring: Keyring, move: Move) -> Make:
    opens, seals = move.opens, move.seals
    if not isinstance(seals, EncryptedType):
        return _opening(Ciphers(keyring, opens), opens)  # type: ignore[arg-type]
    new = Ciphers(keyring, seals)
    if not isinstance(opens, EncryptedType):
        return _sealing(new, seals.codec.encode)
    old, recode = Ciphers(keyring, opens), _recoding(opens, seals)
    if not move.in_place:
        return _resealing(old, new, recode)
    if recode is not None and not (isinstance(opens.type_, String) and isinstance(seals.type_, String)):
        raise ConfigurationError(
            f"{move.source}: values of another type are not written in place: a run that was interrupted "
            "could not tell the new from the old; go through a column of their own"
        )
    if context_of(opens) == context_of(seals) and opens.suite is seals.suite:
        return _rekeying(old, new)
    return _moving(old, new, recode)


def _rekeying(old: Ciphers, new: Ciphers) -> Make:
    """The same plaintext under another DEK: what is under the active one already is left alone."""

    def make(tenant: str, stored: Any) -> Convert:
        sealing = new.sealing(tenant)
        return _keep if _header(stored) == sealing.header else _through(old.opening(tenant, stored), sealing)

    return make


def _moving(old: Ciphers, new: Ciphers, recode: Recode | None) -> Make:
    """Another context, or another suite: what opens in the new way already is left alone."""

    def make(tenant: str, stored: Any) -> Convert:
        sealing = new.sealing(tenant)
        try:
            first = _through(old.opening(tenant, stored), sealing, recode)
        except TamperedError:
            first = None
        try:
            second = new.opening(tenant, stored)
        except TamperedError:
            if first is None:
                raise
            return first
        again = _keep_if_it_opens(second) if second.header == sealing.header else _through(second, sealing)
        return again if first is None else _either(first, again)

    return make


def _resealing(old: Ciphers, new: Ciphers, recode: Recode | None) -> Make:
    """From one sealed column to another."""
    return lambda tenant, stored: _through(old.opening(tenant, stored), new.sealing(tenant), recode)


def _sealing(new: Ciphers, encode: Callable[[Any], bytes]) -> Make:
    """From plain to sealed."""

    def make(tenant: str, value: Any) -> Convert:
        seal = new.sealing(tenant).seal_with
        return lambda value, nonce: seal(encode(value), nonce)

    return make


def _opening(old: Ciphers, opens: EncryptedType) -> Make:
    """From sealed to plain."""
    decode = opens.codec.decode

    def make(tenant: str, stored: Any) -> Convert:
        open_ = old.opening(tenant, stored).open
        if isinstance(opens.type_, JSON):
            return lambda stored, _: _json(_decoded(decode, open_(stored)))
        return lambda stored, _: _decoded(decode, open_(stored))

    return make


def _checking(keyring: Keyring, move: Move) -> Make:
    """Open every value, down to its Python form, and change none."""
    type_: Any = move.opens
    opening = _opening(Ciphers(keyring, type_), type_)

    def make(tenant: str, stored: Any) -> Convert:
        to_python = opening(tenant, stored)

        def check(stored: Any, nonce: bytes) -> Any:
            to_python(stored, nonce)
            return UNCHANGED

        return check

    return make


def _json(value: Any) -> Any:
    # What binds it takes None for NULL.
    return JSON.NULL if value is None else value


def _keep(stored: Any, _: bytes) -> Any:
    return UNCHANGED


def _keep_if_it_opens(cipher: ColumnCipher) -> Convert:
    def convert(stored: Any, _: bytes) -> Any:
        cipher.open(stored)
        return UNCHANGED

    return convert


def _through(opening: ColumnCipher, sealing: ColumnCipher, recode: Recode | None = None) -> Convert:
    open_, seal = opening.open, sealing.seal_with
    if recode is None:
        return lambda stored, nonce: seal(open_(stored), nonce)
    return lambda stored, nonce: seal(recode(open_(stored)), nonce)


def _either(first: Convert, second: Convert) -> Convert:
    def convert(stored: Any, nonce: bytes) -> Any:
        try:
            return first(stored, nonce)
        except NotAuthentic:
            return second(stored, nonce)

    return convert


def _recoding(opens: EncryptedType, seals: EncryptedType) -> Recode | None:
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
