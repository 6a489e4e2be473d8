"""Writes the types of sealed columns into a migration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ARRAY
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic import alembic_private
from sqlalchemy_cmk.alembic.ciphertext.held import held_as
from sqlalchemy_cmk.alembic.registry.type_text import modules_of, python_name
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases.types import exact_text_type
from sqlalchemy_cmk.keys.storage.tables import ExactText

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
        # SQLAlchemy's own types with the same DDL, so that migrations need nothing of the library.
        return render_type(exact_text_type(item.length), autogen_context)
    return False


def render_type(type_: Any, autogen_context: AutogenContext) -> str:
    """Return a type as Alembic renders it, its import noted."""
    if isinstance(type_, EncryptedType):
        return _encrypted(type_, autogen_context)
    held = held_as(type_)
    if held is not None:
        autogen_context.imports.add(f"import {held.module}")
        return str(held)
    _import_module(type_, autogen_context)
    return alembic_private.rendered_type(type_, autogen_context)


def _encrypted(item: EncryptedType, autogen_context: AutogenContext) -> str:
    autogen_context.imports.add(IMPORT)
    if isinstance(item.type_, TypeEngine):
        options = [render_type(item.type_, autogen_context)]
    else:
        options = [python_name(item.type_)]
        autogen_context.imports.update(f"import {module}" for module in modules_of(item.type_))
    options += item.option_texts()
    legacy = [render_type(one, autogen_context) for one in item.scheme.accept_legacy]
    options += [f"accept_legacy=[{', '.join(legacy)}]"] if legacy else []
    return f"EncryptedType({', '.join(options)})"


def _import_module(type_: Any, autogen_context: AutogenContext) -> None:
    """Note the import of an application's own type, which Alembic renders with its module."""
    module = type(type_).__module__
    if not module.startswith("sqlalchemy.") and autogen_context.opts.get("user_module_prefix") is None:
        autogen_context.imports.add(f"import {module}")
    if isinstance(type_, ARRAY):
        _import_module(type_.item_type, autogen_context)
