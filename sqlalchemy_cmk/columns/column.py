"""One sealed column: what it is bound to, whose values it holds, and where its keys are.

A column learns its table late, so nothing is looked up before first use. Its keys are those of the database
that a connection leads to. It holds no key and no state of a fetch: those are in a
:class:`~sqlalchemy_cmk.columns.reading.ColumnReader` or a
:class:`~sqlalchemy_cmk.columns.writing.ColumnWriter`, made for one fetch or statement.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sqlalchemy import Column, Connection, Table

from sqlalchemy_cmk.codec import Codec
from sqlalchemy_cmk.columns.legacy import LegacyTypes
from sqlalchemy_cmk.columns.opening import ColumnKeys
from sqlalchemy_cmk.columns.scheme import Scheme
from sqlalchemy_cmk.errors import ConfigurationError, TenantRequired
from sqlalchemy_cmk.format import Context
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.binding.held_keys import Deks
from sqlalchemy_cmk.keys.binding.protection import keys_for
from sqlalchemy_cmk.keys.dry_run import DryRun, dry_run_of
from sqlalchemy_cmk.scope import PLATFORM_TENANT, agreed_tenant, current_tenant

TENANT_INFO_KEY = "cmk_tenant"


class SealedColumn:
    """What every statement has to know of one sealed column.

    Attributes:
        column: the column; its table is looked up at first use.
        codec: value to plaintext and back.
        scheme: the column's options.
        legacy: what reads values that another library's types have written.
    """

    def __init__(self, column: Column[Any], codec: Codec, scheme: Scheme, legacy: LegacyTypes) -> None:
        self.column = column
        self.codec = codec
        self.scheme = scheme
        self.legacy = legacy

    @cached_property
    def table(self) -> Table:
        """The column's table."""
        table = self.column.table if self.column.table is not None else None
        if not isinstance(table, Table):
            raise ConfigurationError(f"the sealed column {self.column.name!r} does not belong to a table")
        return table

    @cached_property
    def context(self) -> Context:
        """What the values are bound to."""
        return self.scheme.bound_to(self.table.schema, self.table.name, self.column.name)

    @cached_property
    def where(self) -> str:
        """``table.column``, for messages."""
        return f"{self.table.fullname}.{self.column.name}"

    @property
    def dry_run(self) -> DryRun | None:
        """The dry run in which the column holds plain values; ``None`` if they are sealed."""
        table = self.column.table
        return None if table is None else dry_run_of(table.metadata)

    @property
    def is_tenants(self) -> bool:
        """Whether the values belong to tenants, not to the platform."""
        return self.scheme.owner == "row" and self.table.info.get(TENANT_INFO_KEY) is not None

    def keys_on(self, connection: Connection, *, writes: bool = False) -> EngineKeys:
        """Return the keys of a connection's own database; see :func:`keys_for`."""
        return keys_for(connection, self.table, self.where, writes=writes)

    def ciphers(self, keys: Deks) -> ColumnKeys:
        """Return what finds the column's ciphers, made again for each fetch or statement."""
        return ColumnKeys(keys, self.scheme, self.context, self.where)

    def owner(self, tenant: str | None) -> str:
        """Return whose value it is.

        Args:
            tenant: the tenant that the row names; ``None`` if no row is at hand.

        Raises:
            TenantRequired: the column's values belong to tenants, and neither the row nor a scope names one.
            TenantMismatch: both do, and they differ.
        """
        return agreed_tenant(tenant, self.where) if self.is_tenants else PLATFORM_TENANT

    def reading_owner(self, tenant: str | None, lenient: bool) -> str | None:
        """Return whose value is read; ``None`` if the keyring lets values be read without an owner.

        Args:
            tenant: the tenant that the row or the statement names, if any.
            lenient: whether the keyring lets values be read without an owner.

        Raises:
            TenantRequired: the column's values belong to tenants, and neither the row nor a scope names one.
            TenantMismatch: both do, and they differ.
        """
        if tenant is None and self.is_tenants and current_tenant() is None:
            if lenient:
                return None
            raise TenantRequired(
                f"{self.where}: whose value it is cannot be seen from this result: select the tenant column "
                'too, compare it in the WHERE clause, or read inside tenant_scope("...")'
            )
        return self.owner(tenant)
