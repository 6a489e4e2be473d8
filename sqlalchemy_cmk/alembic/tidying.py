"""What autogenerate found otherwise, made fit for a migration that seals columns."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from alembic.operations.ops import (
    CreateIndexOp,
    CreateTableOp,
    DropColumnOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from sqlalchemy import Dialect

from sqlalchemy_cmk.alembic.shadow import is_shadow
from sqlalchemy_cmk.column import TENANT_INFO_KEY

log = logging.getLogger(__name__)


def drop_notes(upgrade_ops: UpgradeOps) -> None:
    """Keep what the hooks note in a table's ``info`` out of the migration, which would render it."""
    for one in upgrade_ops.ops:
        if isinstance(one, CreateTableOp):
            one.info.pop(TENANT_INFO_KEY, None)


def keep_shadows(upgrade_ops: UpgradeOps) -> None:
    """Leave alone what the phases of a conversion that is not finished have put into the database."""
    for group in upgrade_ops.ops:
        if isinstance(group, ModifyTableOps):
            group.ops[:] = [
                one for one in group.ops if not (isinstance(one, DropColumnOp) and is_shadow(one.column_name))
            ]
    upgrade_ops.ops[:] = [
        one for one in upgrade_ops.ops if not (isinstance(one, ModifyTableOps) and one.is_empty())
    ]


def make_repeatable(upgrade_ops: UpgradeOps, dialect: Dialect) -> None:
    """Have what comes before a conversion written so that it can be run again.

    A conversion commits what the migration has done before it: when it is killed, the whole migration is run
    again.
    """
    others = []
    has_indexes = dialect.name in ("sqlite", "postgresql") or getattr(dialect, "is_mariadb", False)
    for one in _flat(upgrade_ops):
        if isinstance(one, CreateTableOp) or (isinstance(one, CreateIndexOp) and has_indexes):
            one.if_not_exists = True
        elif type(one).__module__.startswith("alembic."):
            others.append(type(one).__name__)
    if others:
        log.warning(
            "This migration seals columns and commits between its steps: put %s into a migration of its own, "
            "so that it can be run again when it is interrupted",
            ", ".join(dict.fromkeys(others)),
        )


def _flat(upgrade_ops: UpgradeOps) -> Iterator[MigrateOperation]:
    for one in upgrade_ops.ops:
        if isinstance(one, ModifyTableOps):
            yield from one.ops
        else:
            yield one
