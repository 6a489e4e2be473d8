"""Puts what a killed conversion could not run again into a migration of its own, before the one that seals.

A conversion commits between its steps. Killed and run again, its migration would repeat what stands before
it, such as ``op.add_column``, and fail. So autogenerate writes two files where both are found.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from typing import Any

from alembic.operations.ops import DowngradeOps, MigrateOperation, MigrationScript, UpgradeOps

from sqlalchemy_cmk.alembic.autogenerate.tidy import flat
from sqlalchemy_cmk.alembic.ops.convert import ConversionOp
from sqlalchemy_cmk.alembic.ops.convert_columns import ConversionsOp
from sqlalchemy_cmk.alembic.ops.reencrypt import ChangeSchemeOp
from sqlalchemy_cmk.alembic.ops.sealed_indexes import SealedIndexOp
from sqlalchemy_cmk.runtime.printable import printable

log = logging.getLogger(__name__)

OPTION = "process_revision_directives"
_ALEMBIC = "alembic."
_COMMITTING = (ConversionOp, ConversionsOp, ChangeSchemeOp, SealedIndexOp)


def separate_scripts(opts: dict[str, Any]) -> None:
    """Have a migration's scripts separated, after an application's own ``process_revision_directives``."""
    theirs: Callable[..., None] | None = opts.get(OPTION)
    if getattr(theirs, "separates_conversions", False):
        return

    def process(context: Any, revision: Any, directives: list[MigrationScript]) -> None:
        if theirs is not None:
            theirs(context, revision, directives)
        directives[:] = [part for script in directives for part in _separated(script)]

    process.separates_conversions = True  # type: ignore[attr-defined]
    opts[OPTION] = process


def _separated(script: MigrationScript) -> list[MigrationScript]:
    # One script for several databases stays whole: its parts would have to match.
    upgrade, downgrade = script.upgrade_ops_list[-1], script.downgrade_ops_list[-1]
    first = next((i for i, one in enumerate(upgrade.ops) if isinstance(one, _COMMITTING)), 0)
    others = [one for one in flat(upgrade.ops[:first]) if not _is_repeatable(one)]
    if not others:
        return [script]
    words = ", ".join(map(in_words, others))
    if len(script.upgrade_ops_list) > 1 or len(downgrade.ops) != len(upgrade.ops):
        log.warning(
            "This migration seals columns and commits between its steps. Put what else it does into a "
            "migration of its own, so that it can be run again when it is interrupted: %s",
            words,
        )
        return [script]
    sealing = MigrationScript(
        uuid.uuid4().hex[-12:],
        UpgradeOps(upgrade.ops[first:], upgrade_token=upgrade.upgrade_token),
        # In reverse order.
        DowngradeOps(downgrade.ops[:-first], downgrade_token=downgrade.downgrade_token),
        message=script.message,
        imports=set(script.imports),
        head=script.rev_id,
        version_path=script.version_path,
    )
    del upgrade.ops[first:], downgrade.ops[:-first]
    script.message = f"before {script.message}" if script.message else "before sealing"
    log.info("Put into a migration of its own, which comes before the one that seals columns: %s", words)
    return [script, sealing]


def _is_repeatable(operation: MigrateOperation) -> bool:
    ours = not type(operation).__module__.startswith(_ALEMBIC)
    return ours or bool(getattr(operation, "if_not_exists", False))


def in_words(operation: Any) -> str:
    """Return what one of Alembic's operations does: ``add column visits.note``."""
    verb = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(operation).__name__.removesuffix("Op")).lower()
    table = ".".join(
        filter(None, (getattr(operation, "schema", None), getattr(operation, "table_name", None)))
    )
    column = getattr(operation, "column_name", None) or getattr(
        getattr(operation, "column", None), "name", None
    )
    other = getattr(operation, "index_name", None) or getattr(operation, "constraint_name", None)
    what = f"{table}.{column}" if column else f"{other} on {table}" if other else table
    return printable(f"{verb} {what}".rstrip())
