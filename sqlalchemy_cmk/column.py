"""One sealed column: what its values are bound to, and how they are sealed and opened.

A column learns its table late and its keyring later still, so nothing is looked up before first use.
Each column keeps two fast tables of at most 256 ciphers: from a value's header to what opens it, and from
a tenant to what seals for it. The keyring takes entries out when a DEK expires or is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Literal

from sqlalchemy import Column, Null, Table

from sqlalchemy_cmk.codec import Codec
from sqlalchemy_cmk.errors import (
    CmkError,
    ConfigurationError,
    CredentialError,
    InvalidValue,
    KeyRevoked,
    KeyUnavailable,
    TamperedError,
    TenantMismatch,
)
from sqlalchemy_cmk.keys.keyring import Keyring, keyring_of
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose
from sqlalchemy_cmk.marked import MARK, marked
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant, current_tenant
from sqlalchemy_cmk.sealed import Sealed, stored_bytes
from sqlalchemy_cmk.sealing import (
    HEADER_BYTES,
    NotAuthentic,
    NotSealed,
    Seal,
    Suite,
    header_of,
    is_header,
    parse_header,
)

OnRevoked = Literal["raise", "seal"]
TENANT_INFO_KEY = "cmk_tenant"
HOT_KEYS = 256
MOST_STRANGERS = 10_000


class SealedColumn:
    """Seals and opens the values of one column.

    Args:
        column: the column; its table is looked up at first use.
        codec: value to plaintext and back.
        suite: the algorithm.
        pinned: the context, where it is not ``table.column``.
        on_revoked: ``"raise"``, or ``"seal"`` to give a :class:`Sealed` for a value whose key is revoked.
        accept_plaintext: read a stored value that names no DEK as what the column held before it was sealed.
    """

    def __init__(
        self,
        column: Column[Any],
        codec: Codec,
        suite: Suite,
        pinned: str | None,
        on_revoked: OnRevoked,
        accept_plaintext: bool = False,
    ) -> None:
        self.column = column
        self.codec = codec
        self.suite = suite
        self.purpose = Purpose.of(suite)
        self.pinned = pinned
        self.on_revoked = on_revoked
        self.accept_plaintext = accept_plaintext
        self.openers: dict[bytes, tuple[Callable[..., bytes], object]] = {}
        self.headers: dict[str, tuple[bytes, ...]] = {}
        # What the KEKs refused during the last fetch: asked once for a fetch, not once for every value.
        self.refusals: dict[bytes, KeyRevoked | KeyUnavailable | CredentialError] = {}
        # What looked like a header a moment ago, and named no DEK: plaintext that begins so.
        self.strangers: set[bytes] = set()
        self._sealers: dict[str, tuple[bytes, Seal]] = {}

    @property
    def table(self) -> Table:
        """The column's table."""
        table = self.column.table if self.column.table is not None else None
        if not isinstance(table, Table):
            raise ConfigurationError(f"the sealed column {self.column.name!r} does not belong to a table")
        return table

    @property
    def context(self) -> str:
        """What the values are bound to: the pinned name, or ``table.column``."""
        return self.pinned or f"{self.table.fullname}.{self.column.name}"

    @property
    def where(self) -> str:
        """``table.column``, for messages."""
        return f"{self.table.fullname}.{self.column.name}"

    @property
    def keyring(self) -> Keyring:
        """The keyring that protects the column's metadata."""
        return keyring_of(self.table.metadata, self.where)

    @property
    def has_tenant(self) -> bool:
        """Whether rows of the table belong to tenants, not to the platform."""
        return TENANT_INFO_KEY in self.table.info

    def sealer(self, tenant: str) -> Callable[[Any], Any]:
        """Return the function that seals values under the tenant's active DEK, for use at once.

        It gives :func:`marked` bytes; SQL's ``null()`` as it is; and ``None`` for ``None``, unless the
        type keeps SQL NULL and its own null apart, as JSON does. It raises :class:`InvalidValue` for a
        value that does not fit.
        """
        entry = self._sealers.get(tenant)
        seal = entry[1] if entry else None
        encode = self.codec.encode
        nulls = not self.column.type.should_evaluate_none
        mark = MARK

        def seal_one(value: Any) -> Any:
            nonlocal seal
            if value is None and nulls:
                return None
            if type(value) is Sealed:
                return self._write_back(value, tenant)
            if isinstance(value, Null):
                return value
            if seal is None:
                seal = self._open_sealer(tenant)
            try:
                return mark + seal(encode(value))
            except InvalidValue as error:
                reason = str(error)
            raise InvalidValue(f"{self.where}: {reason}")

        return seal_one

    def seal_in_scope(self, value: Any) -> bytes:
        """Return a value sealed, and marked, for a statement that has no row: for the scope's tenant.

        Raises:
            TenantRequired: the column's rows belong to tenants, and no scope names one.
        """
        self.keyring.opened.sweep()
        return self.sealer(self.tenant_for(None))(value)  # type: ignore[no-any-return]

    def tenant_for(self, owner: str | None) -> str:
        """Return the tenant under which a value is sealed, given the row's owner if there is a row."""
        return agreed_tenant(owner, self.where) if self.has_tenant else PLATFORM_TENANT

    def open(self, stored: Any) -> Any:
        """Return the value of stored bytes.

        Raises:
            TamperedError: the bytes are not what this column sealed, nor what it may have held before.
            KeyRevoked: the key is revoked, and the column raises on that.
        """
        sealed = bytes(stored) if isinstance(stored, memoryview | bytearray) else stored
        if self.accept_plaintext and not self._names_a_dek(sealed):
            return self._read_plain(sealed)
        suite, dek_id = self._parse(sealed)
        refusal = self.refusals.get(sealed[:HEADER_BYTES])
        try:
            if refusal is not None:
                # Copies have no traceback, whose frames would be kept and shared between threads.
                raise copy(refusal)
            dek = self.keyring.dek(dek_id)
        except TamperedError as error:
            raise TamperedError(f"{self.where}: DEK {dek_id.hex()}: {error}") from None
        except KeyRevoked as error:
            if self.on_revoked == "seal":
                return Sealed(error.tenant or "?", self.context, str(error), sealed)
            raise
        if dek is None:
            raise TamperedError(
                f"{self.where}: there is no DEK {dek_id.hex()}: the value or the key tables were altered"
            )
        self.check_owner(dek.tenant, dek.id, None)
        if suite is not self.suite or dek.purpose is not self.purpose:
            raise TamperedError(
                f"{self.where}: the value is sealed in a way this column does not use, DEK {dek_id.hex()}"
            )
        return self._open_under(dek, sealed)

    def opened(self, header: bytes) -> str | None:
        """Open the DEK of a header ahead of use, and return its tenant.

        ``None`` where that is not known, or the value will tell what is wrong.
        """
        if not is_header(header):
            return None
        try:
            dek = self.keyring.dek(header[1:])
        except KeyRevoked as error:
            self.refusals[header] = copy(error)
            return error.tenant
        except (KeyUnavailable, CredentialError) as error:
            # The KEK was asked, perhaps until a time-out: the values do not ask it again.
            self.refusals[header] = copy(error)
            return None
        except CmkError:
            return None
        if dek is None:
            if len(self.strangers) >= MOST_STRANGERS:
                self.strangers.clear()
            self.strangers.add(header)
        elif header == header_of(self.suite, dek.id) and dek.purpose is self.purpose:
            self._remember_opener(dek)
            return dek.tenant
        return None

    def check_plain(self, owner: str | None) -> None:
        """Refuse a plaintext of another tenant than the scope's, as a sealed value of it would be.

        Raises:
            TenantMismatch: the scope names another tenant than the row.
        """
        scope = current_tenant()
        if self.has_tenant and owner is not None and scope not in (None, owner):
            raise TenantMismatch(f"{self.where}: a value of tenant {owner!r} in tenant_scope({scope!r})")

    def check_owner(self, tenant: str, dek_id: bytes, owner: str | None) -> None:
        """Refuse a value whose DEK is not that of the row, the scope or the platform.

        Args:
            tenant: the DEK's tenant.
            dek_id: the DEK.
            owner: the row's tenant, where it is known.

        Raises:
            TamperedError: the row belongs to another tenant than the DEK.
            TenantMismatch: the scope names another tenant.
        """
        expected = owner if self.has_tenant else PLATFORM_TENANT
        if expected is not None and tenant != expected:
            raise TamperedError(
                f"{self.where}: a row of tenant {expected!r} holds a value sealed for {tenant!r} "
                f"under DEK {dek_id.hex()}"
            )
        scope = current_tenant()
        if self.has_tenant and scope is not None and scope != tenant:
            raise TenantMismatch(f"{self.where}: a value of tenant {tenant!r} in tenant_scope({scope!r})")

    def drop_dek(self, dek: OpenedDek) -> None:
        """Forget everything made from a DEK."""
        header = header_of(self.suite, dek.id)
        if self.openers.pop(header, None) is not None:
            self.headers[dek.tenant] = tuple(one for one in self.headers.get(dek.tenant, ()) if one != header)
        entry = self._sealers.get(dek.tenant)
        if entry and entry[0] == dek.id:
            self._sealers.pop(dek.tenant, None)

    def _open_sealer(self, tenant: str) -> Seal:
        dek = self.keyring.active(tenant, self.purpose)
        seal = dek.cipher(self.context).seal

        def add() -> None:
            if len(self._sealers) >= HOT_KEYS:
                self._sealers.clear()
            self._sealers[tenant] = dek.id, seal

        self.keyring.opened.remember(self, dek, add)
        return seal

    def _remember_opener(self, dek: OpenedDek) -> None:
        cipher = dek.cipher(self.context)

        def add() -> None:
            if len(self.openers) >= HOT_KEYS:
                self.openers.clear()
                self.headers.clear()
            self.openers[cipher.header] = cipher.aead
            known = self.headers.get(dek.tenant, ())
            self.headers[dek.tenant] = known if cipher.header in known else (*known, cipher.header)

        self.keyring.opened.remember(self, dek, add)

    def _names_a_dek(self, stored: Any) -> bool:
        """Tell whether a stored value begins as one that is sealed under a DEK that exists, or did."""
        header = stored[:HEADER_BYTES] if isinstance(stored, bytes) else b""
        if not is_header(header) or header in self.strangers:
            return False
        if header in self.refusals:
            return True
        try:
            return self.keyring.dek(header[1:]) is not None
        except (KeyRevoked, TamperedError):
            return True

    def _read_plain(self, stored: Any) -> Any:
        try:
            return self.codec.read_plain(stored)
        except TamperedError as error:
            raise TamperedError(f"{self.where}: {error}") from None

    def _parse(self, sealed: Any) -> tuple[Suite, bytes]:
        try:
            return parse_header(sealed)
        except NotSealed as error:
            reason = str(error)
        named = isinstance(sealed, bytes) and is_header(sealed[:HEADER_BYTES])
        raise TamperedError(
            f"{self.where}: the stored value is not sealed ({reason}): plain text was written past this "
            "library, or the value was truncated"
            + (f"; DEK {sealed[1:HEADER_BYTES].hex()}, if it ever was one" if named else "")
        )

    def _open_under(self, dek: OpenedDek, sealed: bytes) -> Any:
        reason = ""
        try:
            plaintext = dek.cipher(self.context).open(sealed)
            self._remember_opener(dek)
            return self.codec.decode(plaintext)
        except NotAuthentic:
            reason = "the value was altered, or moved here from another column or row"
        except Exception as error:
            reason = f"the opened bytes are no value of the declared type ({type(error).__name__})"
        raise TamperedError(f"{self.where}: {reason}; DEK {dek.id.hex()}")

    def _write_back(self, sealed: Sealed, tenant: str) -> bytes:
        if sealed.context != self.context or sealed.tenant != tenant:
            raise KeyRevoked(
                f"{self.where}: a sealed value of {sealed.context}, tenant {sealed.tenant!r}, "
                "cannot be moved: its key is revoked"
            )
        return marked(stored_bytes(sealed))
