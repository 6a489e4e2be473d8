"""What makes the row decide: hooks on statements, flushes and fetched rows, for every engine and session.

They are installed once, when the package is imported, and let statements without sealed columns pass.
"""

from sqlalchemy import Engine, Table, event
from sqlalchemy.orm import Mapper, Session

from sqlalchemy_cmk.columns.models import note_tenant_column
from sqlalchemy_cmk.columns.plain import create_plain_types
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.hooks.criteria import explain_error
from sqlalchemy_cmk.hooks.fetch import open_result
from sqlalchemy_cmk.hooks.flush import (
    before_delete,
    before_flush,
    before_insert,
    before_update,
    end_of_flush,
)
from sqlalchemy_cmk.hooks.loads import note_row
from sqlalchemy_cmk.hooks.mapped_expressions import refuse_mapped_expressions
from sqlalchemy_cmk.hooks.mutables import note_mapper, shield_loads
from sqlalchemy_cmk.hooks.objects import check_scope, refuse_attached, refuse_found, refuse_given
from sqlalchemy_cmk.hooks.redaction import redact_rows
from sqlalchemy_cmk.hooks.returning import after_cursor_execute
from sqlalchemy_cmk.hooks.sealed_keys import note_keyed_mapper, remember_tenants
from sqlalchemy_cmk.hooks.statements import before_cursor_execute, before_execute
from sqlalchemy_cmk.hooks.token_attributes import note_tokens, replace_subquery_loads
from sqlalchemy_cmk.search.recording import erase_indexes, record_indexes
from sqlalchemy_cmk.search.storage import create_storage, drop_storage

__all__ = ["check_scope", "install"]

_installed = False


def install() -> None:
    """Install the hooks; a second call does nothing."""
    global _installed
    if _installed:
        return
    _installed = True
    event.listen(Mapper, "after_mapper_constructed", note_tenant_column)
    event.listen(Mapper, "after_mapper_constructed", refuse_mapped_expressions)
    event.listen(Mapper, "after_mapper_constructed", note_mapper)
    event.listen(Mapper, "after_mapper_constructed", note_keyed_mapper)
    event.listen(Mapper, "after_mapper_constructed", note_tokens)
    event.listen(Mapper, "after_configured", replace_subquery_loads)
    event.listen(Mapper, "after_configured", shield_loads)
    event.listen(Mapper, "after_configured", remember_tenants)
    event.listen(Mapper, "before_insert", before_insert)
    event.listen(Mapper, "before_update", before_update)
    event.listen(Mapper, "before_delete", before_delete)
    event.listen(Session, "before_flush", before_flush)
    event.listen(Session, "after_flush", end_of_flush)
    event.listen(Session, "after_soft_rollback", end_of_flush)
    event.listen(Session, "do_orm_execute", note_row)
    event.listen(Session, "before_attach", refuse_attached)
    private.watch_lookups(refuse_found)
    private.watch_merges(refuse_found, refuse_given)
    event.listen(Table, "before_create", create_plain_types)
    event.listen(Table, "after_create", create_storage)
    event.listen(Table, "after_create", record_indexes)
    event.listen(Table, "before_drop", drop_storage)
    event.listen(Table, "after_drop", erase_indexes)
    event.listen(Engine, "before_execute", before_execute, retval=True)
    event.listen(Engine, "before_cursor_execute", before_cursor_execute, retval=True)
    event.listen(Engine, "after_cursor_execute", after_cursor_execute)
    event.listen(Engine, "after_execute", open_result)
    event.listen(Engine, "handle_error", explain_error)
    redact_rows()
