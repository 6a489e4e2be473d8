"""The operations on keys: what a migration says. They touch no data row, except ``op.shred_tenant``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from alembic.operations import MigrateOperation, Operations

from sqlalchemy_cmk.alembic.ops.undo import NothingToUndoOp, RefuseDowngradeOp
from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.runtime.kinds import KEK_URI, named, several, text

Rows = Literal["null", "delete", "keep"]
ROWS = ("null", "delete", "keep")


class KeyOp(MigrateOperation):
    """An operation on a tenant's keys; ``tenant`` is ``None`` for those of all tenants."""

    def __init__(self, tenant: str | None) -> None:
        text("a tenant's name").or_none.require("tenant", tenant)
        self.tenant = tenant

    @property
    def whose(self) -> str:
        """Whose keys, for messages."""
        return "all tenants" if self.tenant is None else f"tenant {self.tenant!r}"

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return type(self).__name__, self.tenant


@Operations.register_operation("rewrap_keys")
class RewrapKeysOp(KeyOp):
    """Wrap DEKs by the newest version of their KEKs."""

    @classmethod
    def rewrap_keys(cls, operations: Operations, tenant: str | None = None) -> None:
        """Wrap DEKs by the newest version of their KEKs, after those were rotated.

        Args:
            operations: Alembic's.
            tenant: one tenant; all without it.

        Raises:
            KeyUnavailable: some tenant's KEK refused or could not be reached; the others are done.
        """
        operations.invoke(cls(tenant))

    def reverse(self) -> MigrateOperation:
        """Return that there is nothing to undo."""
        return NothingToUndoOp(f"the DEKs of {self.whose} open as well by the newer version of their KEK")


@Operations.register_operation("rotate_dek")
class RotateDekOp(KeyOp):
    """Make a new active DEK."""

    def __init__(self, tenant: str, purpose: str = "randomized") -> None:
        super().__init__(tenant)
        self.purpose = purpose

    @classmethod
    def rotate_dek(cls, operations: Operations, tenant: str, purpose: str = "randomized") -> None:
        """Make a new active DEK for a tenant; the old one is retired, and still opens what it sealed.

        Args:
            operations: Alembic's.
            tenant: the tenant's name; ``""`` is the platform.
            purpose: ``"randomized"``, or ``"deterministic"`` for deterministic columns.
        """
        operations.invoke(cls(tenant, purpose))

    def reverse(self) -> MigrateOperation:
        """Return that there is nothing to undo: a DEK that sealed values must not be taken away."""
        return NothingToUndoOp(f"the new DEK of {self.whose} stays: values may be sealed under it")


@Operations.register_operation("assign_tenant_key")
class AssignTenantKeyOp(KeyOp):
    """Give a tenant a KEK."""

    def __init__(
        self, tenant: str, kek: str, fresh_dek: bool = False, *, existing_kek: str | None = None
    ) -> None:
        super().__init__(tenant)
        KEK_URI.require("kek", kek)
        KEK_URI.or_none.require("existing_kek", existing_kek)
        self.kek = kek
        self.fresh_dek = fresh_dek
        self.existing_kek = existing_kek

    @classmethod
    def assign_tenant_key(
        cls,
        operations: Operations,
        tenant: str,
        kek: str,
        fresh_dek: bool = False,
        *,
        existing_kek: str | None = None,
    ) -> None:
        """Give a tenant a KEK: its DEKs are wrapped by that one alone. The inverse names the KEK it had.

        Args:
            operations: Alembic's.
            tenant: the tenant's name.
            kek: the KEK's URI.
            fresh_dek: also make a new active DEK.
            existing_kek: the URI of the KEK it had, which the inverse needs.
        """
        operations.invoke(cls(tenant, kek, fresh_dek, existing_kek=existing_kek))

    def reverse(self) -> MigrateOperation:
        """Return the hand-over back, if the KEK before is known."""
        if self.existing_kek is None:
            return RefuseDowngradeOp(f"the KEK that {self.whose} had before {self.kek} is not known")
        return AssignTenantKeyOp(str(self.tenant), self.existing_kek, existing_kek=self.kek)


@Operations.register_operation("shred_tenant")
class ShredTenantOp(KeyOp):
    """Destroy a tenant's keys."""

    def __init__(self, tenant: str, rows: Rows = "null", *, confirm: str) -> None:
        super().__init__(tenant)
        if rows not in ROWS:
            raise ConfigurationError(f"rows is one of {', '.join(ROWS)}, not {named(rows)}")
        self.rows = rows
        self.confirm = confirm

    @classmethod
    def shred_tenant(cls, operations: Operations, tenant: str, rows: Rows = "null", *, confirm: str) -> None:
        """Destroy every wrapping of a tenant: its data is lost for good. There is no inverse.

        Args:
            operations: Alembic's.
            tenant: the tenant's name.
            rows: what becomes of its rows in the tables of ``target_metadata``: ``"null"`` empties their
                sealed columns, those of the platform too, ``"delete"`` deletes them, ``"keep"`` leaves bytes
                that nobody can open.
            confirm: the tenant's name, typed again.

        Raises:
            ConfigurationError: ``confirm`` is another name, or ``rows="null"`` meets a column that takes no
                NULL. Nothing is destroyed then.
        """
        operations.invoke(cls(tenant, rows, confirm=confirm))

    def reverse(self) -> MigrateOperation:
        """Return a refusal."""
        return RefuseDowngradeOp(f"the keys of {self.whose} were destroyed; nobody can bring its data back")


@Operations.register_operation("drop_retired_deks")
class DropRetiredDeksOp(KeyOp):
    """Destroy retired DEKs under which no value is left."""

    def __init__(self, tenant: str | None, ignoring: Sequence[str] = ()) -> None:
        super().__init__(tenant)
        several("a list of tables' names", str).require("ignoring", ignoring)
        self.ignoring = tuple(ignoring)

    @classmethod
    def drop_retired_deks(
        cls, operations: Operations, tenant: str | None = None, *, ignoring: Sequence[str] = ()
    ) -> None:
        """Destroy retired DEKs, once a count finds no value left under them. There is no inverse.

        Args:
            operations: Alembic's.
            tenant: one tenant; all without it.
            ignoring: tables of no model whose values need not open any more: ``"table"``,
                ``"schema.table"``, or a pattern as in ``"archive.*"``.

        Raises:
            ConfigurationError: values are left under a retired DEK; the message has the count.
        """
        operations.invoke(cls(tenant, ignoring))

    def reverse(self) -> MigrateOperation:
        """Return a refusal."""
        return RefuseDowngradeOp(f"retired DEKs of {self.whose} were destroyed")
