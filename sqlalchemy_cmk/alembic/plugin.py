"""The entry point of Alembic's plugins: ``setup`` registers the operations and what autogenerate compares.

Alembic loads it while it is itself only half imported, so that what needs ``alembic.autogenerate`` is
imported at its first use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alembic.runtime.plugins import Plugin

SUBGROUP = "sqlalchemy_cmk"


def setup(plugin: Plugin) -> None:
    """Register the operations and the comparisons; called by Alembic."""
    from alembic.util import DispatchPriority

    from sqlalchemy_cmk.alembic.run import (  # noqa: F401
        convert,
        key_tables,
        reencrypt,
        register,
        sealed_indexes,
        tenant_keys,
        undo,
    )

    add = plugin.add_autogenerate_comparator
    add(_begin, "autogenerate", SUBGROUP, priority=DispatchPriority.FIRST)
    add(_note_column, "column", "types", priority=DispatchPriority.FIRST)
    add(_finish, "autogenerate", SUBGROUP, priority=DispatchPriority.LAST)


def _begin(*arguments: Any) -> Any:
    from sqlalchemy_cmk.alembic.autogenerate.compare import begin

    return begin(*arguments)


def _note_column(*arguments: Any) -> Any:
    from sqlalchemy_cmk.alembic.autogenerate.compare import note_column

    return note_column(*arguments)


def _finish(*arguments: Any) -> Any:
    from sqlalchemy_cmk.alembic.autogenerate.compare import finish

    return finish(*arguments)


class _PluginModule(ModuleType):
    """A module and a collection of one: up to Alembic 1.20.0 an entry point had to be a collection."""

    def __iter__(self) -> Iterator[ModuleType]:
        yield self


sys.modules[__name__].__class__ = _PluginModule
