"""What a keyring does about SQL text that names a sealed column. The hooks look at the text."""

from __future__ import annotations

from typing import Literal, get_args
from weakref import WeakSet

from sqlalchemy import MetaData

from sqlalchemy_cmk.errors import ConfigurationError

RawSql = Literal["warn", "refuse", "allow"]

# The execution option by which an engine or a connection says that it sends such text all the same.
OPTION = "cmk_raw_sql"

# The metadatas whose columns are looked for in SQL text.
guarded: WeakSet[MetaData] = WeakSet()


def check_raw_sql(raw_sql: object) -> None:
    """Refuse what is not an answer.

    Raises:
        ConfigurationError: it is none.
    """
    if raw_sql not in get_args(RawSql):
        raise ConfigurationError(f"raw_sql is {' or '.join(map(repr, get_args(RawSql)))}")
