"""What is committed, read past the library and opened with what only the vault knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from sqlalchemy_cmk.format import (
    HEADER_BYTES,
    NONCE_BYTES,
    Context,
    NotSealed,
    Suite,
    associated_data,
    column_key,
    parse_header,
)
from sqlalchemy_cmk.keys.manifest.check_value import is_checked
from sqlalchemy_cmk.keys.model import Purpose
from sqlalchemy_cmk.runtime.secret import Secret
from tests.simulation.models import CONVERTED, CONVERTED_COLUMN, SEALED, TABLE
from tests.simulation.vault import Vault


class Unreadable(Exception):
    """A stored value that the simulation cannot open; the message says why."""


@dataclass(frozen=True)
class Tenant:
    """A row of the table of tenants."""

    state: str
    epoch: int
    outage_grace: float | None


@dataclass(frozen=True)
class Dek:
    """A row of the table of DEKs, with its wrappings: KEK, version and bytes."""

    id: bytes
    tenant: str
    purpose: str
    state: str
    check_value: bytes
    wrappings: tuple[tuple[str, str, bytes], ...]


@dataclass
class Keys:
    """The key tables.

    Attributes:
        tenants: by name.
        deks: by id.
    """

    tenants: dict[str, Tenant] = field(default_factory=dict)
    deks: dict[bytes, Dek] = field(default_factory=dict)


class Stored:
    """Reads and opens what is committed.

    Args:
        rows: runs a query on the database; returns `None` where that is locked.
        vault: unwraps DEKs, regardless of access.
    """

    def __init__(self, rows: Callable[[str], list[tuple[Any, ...]] | None], vault: Vault) -> None:
        self._rows = rows
        self._seen: dict[str, list[tuple[Any, ...]]] = {}
        self._vault = vault
        self._opened: dict[tuple[str, bytes], str] = {}
        self._deks: dict[bytes, Secret] = {}

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        """What is locked is as it was last read, or empty: nobody has committed a change to it since."""
        found = self._rows(query)
        if found is not None:
            self._seen[query] = found
        return self._seen.get(query, [])

    def keys(self) -> Keys:
        """The key tables as they are now."""
        tenants = {text(name): Tenant(*others) for name, *others in self._read(_TENANTS)}
        wrappings: dict[bytes, list[tuple[str, str, bytes]]] = {}
        for dek_id, uri, version, data in self._read(_WRAPPINGS):
            wrappings.setdefault(bytes(dek_id), []).append((text(uri), version, bytes(data)))
        deks = {}
        for dek_id, tenant, purpose, state, check_value in self._read(_DEKS):
            key = bytes(dek_id)
            of_it = tuple(sorted(wrappings.get(key, ())))
            deks[key] = Dek(key, text(tenant), purpose, state, bytes(check_value), of_it)
        return Keys(tenants, deks)

    def table(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Key, tenant and raw values of every row."""
        query = f"SELECT id, clinic_id, {', '.join(SEALED)} FROM {TABLE} ORDER BY id"
        return [
            (key, tenant, dict(zip(SEALED, values, strict=True)))
            for key, tenant, *values in self._read(query)
        ]

    def form(self) -> str:
        """How the column of visits is sealed; empty if it is plain."""
        found = self._read(_SCHEME)
        if not found:
            return ""
        return "deterministic" if json.loads(found[0][0]).get("deterministic") else "randomized"

    def visits(self) -> list[tuple[int, str, Any]]:
        """Key, tenant and raw value of every visit."""
        return self._read(f"SELECT id, clinic_id, {CONVERTED_COLUMN} FROM {CONVERTED} ORDER BY id")

    def unwrapped(self, dek: Dek, wrapping: tuple[str, str, bytes]) -> Secret:
        """The DEK that a wrapping holds, proven by its check value."""
        uri, version, data = wrapping
        if data not in self._deks:
            key = self._vault.look_into(uri, version, data)
            if key is None:
                raise Unreadable(f"{uri} {version} does not unwrap DEK {dek.id.hex()}")
            self._deks[data] = Secret(key)
        secret = self._deks[data]
        if not is_checked(secret, dek.id, Purpose(dek.purpose), dek.tenant, dek.check_value):
            raise Unreadable(f"{uri} {version} wraps another key than DEK {dek.id.hex()}")
        return secret

    def opened(self, column: str, sealed: bytes, dek: Dek) -> str:
        """The text that a sealed value holds."""
        known = self._opened.get((column, sealed))
        if known is not None:
            return known
        suite, _ = parse_header(sealed)
        table = TABLE if column in SEALED else CONVERTED
        context = Context.of_column(None, table, column)
        key = column_key(self.unwrapped(dek, dek.wrappings[0]), suite, context)
        try:
            opened = _plaintext(suite, key.reveal(), sealed, associated_data(sealed[:HEADER_BYTES], context))
        except InvalidTag:
            raise Unreadable("it does not open under its DEK") from None
        text = self._opened[column, sealed] = opened.decode(errors="backslashreplace")
        return text


def _plaintext(suite: Suite, key: bytes, sealed: bytes, associated: bytes) -> bytes:
    body = sealed[HEADER_BYTES:]
    if suite is Suite.SIV:
        return AESSIV(key).decrypt(body, [associated])
    return AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], associated)


def header(sealed: Any) -> tuple[Suite, bytes]:
    """Suite and DEK of a stored value."""
    try:
        return parse_header(bytes(sealed) if isinstance(sealed, memoryview) else sealed)
    except NotSealed:
        raise Unreadable("it is not sealed") from None


def text(stored: Any) -> str:
    """A name from the key tables, which some databases keep as bytes."""
    return stored.decode() if isinstance(stored, bytes) else stored


_TENANTS = "SELECT tenant, state, epoch, outage_grace FROM cmk_tenants"
_DEKS = "SELECT id, tenant, purpose, state, check_value FROM cmk_deks"
_WRAPPINGS = "SELECT dek_id, kek_uri, kek_version, wrapped FROM cmk_wrappings"
_SCHEME = "SELECT scheme FROM cmk_columns"
