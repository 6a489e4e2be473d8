"""Finds the type of another library that a column had before it became a sealed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.autogenerate import render_op_text
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, Dialect
from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.alembic.autogenerate.render_ops import UNKNOWN
from sqlalchemy_cmk.alembic.ciphertext.held import Held, held_as, held_types
from sqlalchemy_cmk.alembic.ciphertext.looks import ciphertext_among
from sqlalchemy_cmk.alembic.ciphertext.refusal import ciphertext_found
from sqlalchemy_cmk.alembic.ciphertext.samples import stored_values
from sqlalchemy_cmk.alembic.ops.convert import EncryptColumnOp
from sqlalchemy_cmk.columns.legacy import reader_of
from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.errors import ConfigurationError

NO_CIPHERTEXT = "no ciphertext"


def old_type(
    context: AutogenContext, connection: Connection, operation: EncryptColumnOp
) -> TypeEngine[Any] | None:
    """Return the type of another library by which a column's values are read; ``None`` for plain values.

    It is the one that the model accepts, or the only one under a name in a module that opens the values.

    Args:
        context: autogenerate's.
        connection: where the values are.
        operation: what is to be written, with the type of plain values.

    Raises:
        ConfigurationError: the values look like ciphertext, and no type or more than one opens them; or a
            type that the model accepts has no name.
    """
    sealed, name = operation.type_, operation.name
    accepted: Sequence[TypeEngine[Any]] = ()
    if isinstance(sealed, EncryptedType):
        accepted = sealed.scheme.accept_legacy
    for one in accepted:
        if held_as(one) is None:
            raise ConfigurationError(
                f"{name}: a migration cannot import a type that has no name: keep what accept_legacy lists "
                "under a name in a module of the application, OLD_TYPE = StringEncryptedType(String, key)"
            )
    if accepted:
        return accepted[0]
    stored = stored_values(connection, name)
    looks = ciphertext_among(stored)
    if looks is None:
        return None
    found = [one for one in held_types() if _opens(one, stored, sealed, connection.dialect)]
    if len(found) == 1:
        return found[0].type_
    if found:
        looks += f"; {', '.join(map(str, found))} open it alike"
    operation.existing_type = None
    _, _, line = render_op_text(context, operation).partition(f"# {UNKNOWN}\n")
    line = line.replace("existing_type=None", "existing_type=OLD_TYPE")
    raise ConfigurationError(ciphertext_found(name, looks, line))


def _opens(held: Held, stored: Sequence[Any], sealed: Any, dialect: Dialect) -> bool:
    """Return whether a type opens every value, to what can be sealed, and refuses what is not ciphertext."""
    try:
        read = reader_of(held.type_, dialect)
        for value in stored:
            sealed.codec.encode_read(read(value))
    except Exception:  # what another library raises is not known
        return False
    try:
        read(NO_CIPHERTEXT)
    except Exception:
        return True
    return False
