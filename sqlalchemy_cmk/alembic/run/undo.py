"""What ``op.nothing_to_undo`` and ``op.refuse_downgrade`` do."""

from __future__ import annotations

import logging

from alembic.operations import Operations

from sqlalchemy_cmk.alembic.ops.undo import NothingToUndoOp, RefuseDowngradeOp
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.runtime.printable import printable

log = logging.getLogger(__name__)


@Operations.implementation_for(NothingToUndoOp)
def _say(operations: Operations, operation: NothingToUndoOp) -> None:
    log.info("nothing to undo: %s", printable(operation.reason))


@Operations.implementation_for(RefuseDowngradeOp)
def _refuse(operations: Operations, operation: RefuseDowngradeOp) -> None:
    raise UnsupportedOperation(f"this migration cannot be undone: {operation.reason}")
