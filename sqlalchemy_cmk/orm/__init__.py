"""What makes the row decide: hooks on statements, flushes and fetched rows, for every engine and session.

They are installed once, when the package is imported, and let statements without sealed columns pass.
"""

from sqlalchemy import Engine, event
from sqlalchemy.orm import Mapper, Session

from sqlalchemy_cmk.orm.fetch import check_result
from sqlalchemy_cmk.orm.flush import before_flush, before_update, end_of_flush, note_owner
from sqlalchemy_cmk.orm.mutables import note_mapper, shield_loads
from sqlalchemy_cmk.orm.redaction import redact_rows
from sqlalchemy_cmk.orm.refusals import before_cursor_execute
from sqlalchemy_cmk.orm.statements import before_execute
from sqlalchemy_cmk.orm.tenants import note_tenant_column

_installed = False


def install() -> None:
    """Install the hooks; a second call does nothing."""
    global _installed
    if _installed:
        return
    _installed = True
    event.listen(Mapper, "after_mapper_constructed", note_tenant_column)
    event.listen(Mapper, "after_mapper_constructed", note_mapper)
    event.listen(Mapper, "after_configured", shield_loads)
    event.listen(Mapper, "before_update", before_update)
    event.listen(Session, "before_flush", before_flush)
    event.listen(Session, "after_flush", end_of_flush)
    event.listen(Session, "after_soft_rollback", end_of_flush)
    event.listen(Session, "do_orm_execute", note_owner)
    event.listen(Engine, "before_execute", before_execute, retval=True)
    event.listen(Engine, "before_cursor_execute", before_cursor_execute)
    event.listen(Engine, "after_execute", check_result)
    redact_rows()
