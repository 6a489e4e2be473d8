"""Exports a tenant's rows, each table to a file, and finds out later whether they have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from sqlalchemy_cmk.certificates.document import CertifiedFile
from sqlalchemy_cmk.certificates.observing import moment
from sqlalchemy_cmk.databases.errors import first_line
from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.keys import Keyring
from sqlalchemy_cmk.offboarding.files import NewFile
from sqlalchemy_cmk.offboarding.folder import Folder
from sqlalchemy_cmk.offboarding.rows import head, rows
from sqlalchemy_cmk.offboarding.sealing import SealedWriter
from sqlalchemy_cmk.rekey.every_row import refuse_hidden
from sqlalchemy_cmk.runtime.clock import utc_now
from sqlalchemy_cmk.scope import tenant_scope

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Exported:
    """An export: its files, and a digest of all rows.

    The digest is of what is in the rows, so it is kept in memory only.
    """

    files: tuple[CertifiedFile, ...]
    digest: int


class _Digest:
    """A digest of rows in any order, the sum of their SHA-256: it finds changes, and proves nothing."""

    def __init__(self) -> None:
        self.value = self.rows = 0

    def add(self, table: Table, row: bytes) -> None:
        one = sha256(table.fullname.encode() + b"\0" + row).digest()
        self.value = (self.value + int.from_bytes(one)) % 2**256
        self.rows += 1


class Export:
    """Reads a tenant's rows of some tables as of one moment.

    Args:
        keyring: opens them, on connections of its own.
        tenant: the tenant's name.
        tables: the tables.
        key: the public key for which files are sealed; ``None`` where they are in the clear.
    """

    def __init__(
        self, keyring: Keyring, tenant: str, tables: Iterable[Table], key: RSAPublicKey | None
    ) -> None:
        self._keyring = keyring
        self._tenant = tenant
        self._tables = list(tables)
        self._key = key

    def write(self, folder: Folder) -> Exported:
        """Write each table to a file of the folder."""
        at, digest = moment(utc_now()), _Digest()

        def each(connection: Connection, table: Table) -> CertifiedFile:
            path = folder.file_of(table.fullname, sealed=self._key is not None)
            with NewFile(path) as file:
                sealed = None if self._key is None else SealedWriter(file.write, self._key)
                write = file.write if sealed is None else sealed.write
                write(head(table, self._tenant, at))
                before = digest.rows
                for one in rows(connection, table, self._tenant):
                    digest.add(table, one)
                    write(one)
                if sealed is not None:
                    sealed.end()
                return CertifiedFile(path.name, str(table.fullname), digest.rows - before, file.end())

        return Exported(tuple(self._read(each)), digest.value)

    def digest(self) -> int:
        """Return the digest of the rows as they are now."""
        digest = _Digest()

        def each(connection: Connection, table: Table) -> None:
            for one in rows(connection, table, self._tenant):
                digest.add(table, one)

        self._read(each)
        return digest.value

    def _read(self, each: Callable[[Connection, Table], T]) -> list[T]:
        def work(connection: Connection) -> list[T]:
            with tenant_scope(self._tenant), connection.begin():
                self._keyring.connections.database.begin_snapshot(connection)
                refuse_hidden(connection, self._tables)
                return [each(connection, table) for table in self._tables]

        try:
            return self._keyring.connections.use(work)
        except DBAPIError as error:
            problem = first_line(error)
        raise KeyUnavailable(
            f"the rows cannot be read ({problem}): nothing was destroyed; run the same again"
        )
