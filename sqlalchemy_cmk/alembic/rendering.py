"""How sealed columns and the operations on them are written into a migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ARRAY, Column, String
from sqlalchemy.dialects import mysql
from sqlalchemy.types import VARBINARY, TypeEngine

from sqlalchemy_cmk.alembic.naming import modules_of, python_name
from sqlalchemy_cmk.keys.tables import ExactText
from sqlalchemy_cmk.types import EncryptedType

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext

IMPORT = "from sqlalchemy_cmk import EncryptedType"


def render_item(kind: str, item: Any, autogen_context: AutogenContext) -> str | Literal[False]:
    """Render the types of sealed columns and of the key tables; for ``context.configure(render_item=...)``.

    The plugin sets it by itself, behind an application's own ``render_item``. It is needed only with
    ``autogenerate_plugins`` that leave the plugin out, and with ``render_python_code``.
    """
    if kind != "type":
        return False
    if isinstance(item, EncryptedType):
        return _encrypted(item, autogen_context)
    if isinstance(item, ExactText):
        return render_type(_without_exact_text(item), autogen_context)
    return False


def render_type(type_: Any, autogen_context: AutogenContext) -> str:
    """Return a type as Alembic renders it, its import noted."""
    from alembic.autogenerate import render_op_text
    from alembic.operations.ops import AddColumnOp

    if isinstance(type_, EncryptedType):
        return _encrypted(type_, autogen_context)
    _import_module(type_, autogen_context)
    # Alembic has no public way to render a type alone: it is cut out of a column's text.
    marked: Column[Any] = Column("__cmk__", type_)
    text = render_op_text(autogen_context, AddColumnOp("t", marked))
    return text.partition("'__cmk__', ")[2].removesuffix(", nullable=True))")


def _encrypted(item: EncryptedType, autogen_context: AutogenContext) -> str:
    autogen_context.imports.add(IMPORT)
    if isinstance(item.type_, TypeEngine):
        options = [render_type(item.type_, autogen_context)]
    else:
        options = [python_name(item.type_)]
        autogen_context.imports.update(f"import {module}" for module in modules_of(item.type_))
    options += ["deterministic=True"] if item.deterministic else []
    options += [f"context={item.context!r}"] if item.context else []
    options += [f"on_revoked={item.on_revoked!r}"] if item.on_revoked != "raise" else []
    options += ["accept_plaintext=True"] if item.accept_plaintext else []
    return f"EncryptedType({', '.join(options)})"


def _without_exact_text(item: ExactText) -> TypeEngine[Any]:
    """Return SQLAlchemy's own types with the same DDL, so that migrations need nothing of the library."""
    return String(item.length).with_variant(VARBINARY(4 * item.length), mysql.dialect.name, "mariadb")


def _import_module(type_: Any, autogen_context: AutogenContext) -> None:
    """Note the import of an application's own type, which Alembic renders with its module."""
    module = type(type_).__module__
    if not module.startswith("sqlalchemy.") and autogen_context.opts.get("user_module_prefix") is None:
        autogen_context.imports.add(f"import {module}")
    if isinstance(type_, ARRAY):
        _import_module(type_.item_type, autogen_context)
