"""The key tables in SQL: every method is one transaction on the keyring's own connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from random import uniform
from time import sleep
from typing import Any, TypeVar

from sqlalchemy import Connection, MetaData, Row, Select, func, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchTableError, OperationalError, SQLAlchemyError

from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.keys.connections import Connections, Work
from sqlalchemy_cmk.keys.model import DekRecord, DekState, Purpose, TenantRecord
from sqlalchemy_cmk.keys.tables import make_key_tables
from sqlalchemy_cmk.providers.base import Wrapped

T = TypeVar("T")

RETRIES = 3


class KeyStore:
    """Reads and writes the key tables.

    Args:
        connections: the keyring's own connections.
        prefix: the beginning of the key tables' names.

    Every method raises :class:`KeyUnavailable` when the tables cannot be reached or written now, and
    :class:`ConfigurationError` when they do not exist.
    """

    def __init__(self, connections: Connections, prefix: str) -> None:
        self._connections = connections
        self._metadata = MetaData()
        self._tables = make_key_tables(self._metadata, prefix)
        if connections.in_memory:
            connections.run(self._metadata.create_all)

    def dek(self, dek_id: bytes) -> DekRecord | None:
        """Return a DEK by its id, with its wrappings, in one statement."""
        return self._one(self._select_deks().where(self._tables.deks.c.id == dek_id))

    def active_dek(self, tenant: str, purpose: Purpose) -> DekRecord | None:
        """Return a tenant's active DEK for a purpose, with its wrappings, in one statement."""
        deks = self._tables.deks
        return self._one(
            self._select_deks().where(
                deks.c.tenant == tenant, deks.c.purpose == purpose, deks.c.state == DekState.ACTIVE
            )
        )

    def deks_of(self, tenant: str) -> list[DekRecord]:
        """Return every DEK of a tenant, whatever its state."""
        statement = self._select_deks().where(self._tables.deks.c.tenant == tenant)
        return _records(self._run(lambda connection: connection.execute(statement).all()))

    def tenant(self, tenant: str) -> TenantRecord | None:
        """Return a tenant, or ``None`` where it has no keys yet."""
        table = self._tables.tenants
        statement = select(table.c.tenant, table.c.kek_uri, table.c.epoch).where(table.c.tenant == tenant)
        row = self._run(lambda connection: connection.execute(statement).first())
        return TenantRecord(*row) if row else None

    def add_tenant(self, tenant: str, kek_uri: str) -> TenantRecord:
        """Write a tenant that is not there yet; the one who was first wins."""
        new = insert(self._tables.tenants).values(tenant=tenant, kek_uri=kek_uri, epoch=0)
        with suppress(IntegrityError):
            self._run(lambda connection: connection.execute(new))
        return self.tenant(tenant) or TenantRecord(tenant, kek_uri, 0)

    def wraps_anything(self, kek_uri: str) -> bool:
        """Tell whether any DEK is wrapped by this KEK."""
        statement = select(self._tables.wrappings.c.dek_id).where(self._tables.wrappings.c.kek_uri == kek_uri)
        return self._run(lambda connection: connection.execute(statement.limit(1)).first()) is not None

    def add_dek(self, owner: TenantRecord, dek: DekRecord) -> bool:
        """Commit a new active DEK; ``False`` where somebody else changed the tenant's keys first."""

        def work(connection: Connection) -> bool:
            if not self._advance(connection, owner, owner.kek_uri):
                return False
            connection.execute(
                insert(self._tables.deks).values(
                    id=dek.id, tenant=dek.tenant, purpose=dek.purpose, state=dek.state, active_slot=1
                )
            )
            self._insert_wrappings(connection, dek.id, dek.wrappings)
            return True

        try:
            return self._run(work)
        except IntegrityError:
            return False

    def replace_wrappings(self, owner: TenantRecord, kek_uri: str, wrapped: dict[bytes, Wrapped]) -> bool:
        """Give a tenant another KEK: its DEKs' new wrappings in place of all the old ones."""
        table = self._tables.wrappings

        def work(connection: Connection) -> bool:
            if not self._advance(connection, owner, kek_uri):
                return False
            for dek_id, wrapping in wrapped.items():
                connection.execute(table.delete().where(table.c.dek_id == dek_id))
                self._insert_wrappings(connection, dek_id, [wrapping])
            return True

        return self._run(work)

    def counts(self) -> list[tuple[str, str, str | None, int]]:
        """Return tenant, KEK URI, DEK state and how many, for every tenant."""
        tenants, deks = self._tables.tenants, self._tables.deks
        statement = (
            select(tenants.c.tenant, tenants.c.kek_uri, deks.c.state, func.count(deks.c.id))
            .outerjoin(deks, deks.c.tenant == tenants.c.tenant)
            .group_by(tenants.c.tenant, tenants.c.kek_uri, deks.c.state)
            .order_by(tenants.c.tenant)
        )
        rows = self._run(lambda connection: connection.execute(statement).all())
        return [(tenant, kek, state, count) for tenant, kek, state, count in rows]

    def _advance(self, connection: Connection, owner: TenantRecord, kek_uri: str) -> bool:
        """Take the tenant's next epoch, which locks its row: changes to its keys come one by one."""
        table = self._tables.tenants
        result = connection.execute(
            update(table)
            .where(table.c.tenant == owner.name, table.c.epoch == owner.epoch)
            .values(epoch=owner.epoch + 1, kek_uri=kek_uri)
        )
        return result.rowcount == 1

    def _insert_wrappings(self, connection: Connection, dek_id: bytes, wrappings: Iterable[Wrapped]) -> None:
        for one in wrappings:
            connection.execute(
                insert(self._tables.wrappings).values(
                    dek_id=dek_id,
                    kek_uri=one.kek_uri,
                    kek_version=one.kek_version,
                    algorithm=one.algorithm,
                    wrapped=one.data,
                )
            )

    def _select_deks(self) -> Select[Any]:
        d, w = self._tables.deks, self._tables.wrappings
        return select(
            d.c.id,
            d.c.tenant,
            d.c.purpose,
            d.c.state,
            w.c.kek_uri,
            w.c.kek_version,
            w.c.algorithm,
            w.c.wrapped,
        ).outerjoin(w, w.c.dek_id == d.c.id)

    def _one(self, statement: Select[Any]) -> DekRecord | None:
        records = _records(self._run(lambda connection: connection.execute(statement).all()))
        return records[0] if records else None

    def _run(self, work: Work[T]) -> T:
        try:
            return self._run_again(work)
        except IntegrityError:
            raise
        except DBAPIError as error:
            problem: SQLAlchemyError = error
        except (OSError, SQLAlchemyError) as error:
            raise KeyUnavailable(f"the key tables cannot be reached: {type(error).__name__}") from error
        self._explain(problem)
        raise KeyUnavailable(
            "the key tables cannot be read or written now "
            f"({str(getattr(problem, 'orig', problem)).strip() or type(problem).__name__}); "
            "where another writer holds SQLite's lock, call keyring.warm([tenant]) before you write"
        ) from problem

    def _run_again(self, work: Work[T]) -> T:
        # A deadlock's victim, or a connection that the server closed meanwhile, has written nothing. SQLite
        # has waited for its lock already.
        for _ in range(0 if self._connections.is_sqlite else RETRIES):
            try:
                return self._connections.run(work)
            except OperationalError:
                sleep(uniform(0.01, 0.05))  # noqa: S311
        return self._connections.run(work)

    def _explain(self, problem: SQLAlchemyError) -> None:
        name = self._tables.deks.name
        try:
            missing = not self._connections.run(lambda connection: inspect(connection).has_table(name))
        except (SQLAlchemyError, OSError, NoSuchTableError):
            return
        if missing:
            raise ConfigurationError(
                f"the key table {name} does not exist: run metadata.create_all(engine) or the Alembic "
                "migration that makes it, after keyring.protect(Base)"
            ) from problem


def _records(rows: Sequence[Row[Any]]) -> list[DekRecord]:
    found: dict[bytes, DekRecord] = {}
    for row in rows:
        dek_id, tenant, purpose, state, kek_uri, version, algorithm, data = tuple[Any, ...](row)
        key = bytes(dek_id)
        wrapping = () if kek_uri is None else (Wrapped(kek_uri, version, algorithm, bytes(data)),)
        before = found[key].wrappings if key in found else ()
        found[key] = DekRecord(key, tenant, Purpose(purpose), DekState(state), before + wrapping)
    return list(found.values())
