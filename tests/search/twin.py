"""A model with indexes, and its twin that holds the same values in plain text in the same database.

The twin's texts are compared by code points, whatever the database: that is what LIKE of this library means.
"""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis.strategies import SearchStrategy
from sqlalchemy import String, event, select
from sqlalchemy.dialects.mysql import VARCHAR
from sqlalchemy.orm import Mapped, mapped_column

from sqlalchemy_cmk import UnsupportedOperation
from sqlalchemy_cmk.search import Compound
from tests.support.vault import Vault

# No padding, no folding: equal are equal code points.
PLAIN_TEXT = String(80).with_variant(VARCHAR(80, collation="utf8mb4_nopad_bin"), "mysql", "mariadb")
# Of a LIKE without an escape: databases that have one by default are told another, which nobody writes.
NO_ESCAPE = "\x01"

# Examples of one property: servers are slower, and answer as SQLite does.
EXAMPLES = {"sqlite": 50, "postgresql": 10, "mysql": 10, "mariadb": 10}


class Twins:
    """Rows with the same values, sealed and plain.

    Args:
        vault: where they are.
        sealed: the sealed type of each column.
        plain: the plain type of each column.
        together: indexes over several of the sealed columns.
    """

    def __init__(
        self, vault: Vault, sealed: dict[str, Any], plain: dict[str, Any], together: Sequence[Compound] = ()
    ) -> None:
        if vault.engine.dialect.name == "sqlite":
            event.listen(vault.engine, "connect", _heed_case)
        self.vault = vault
        self.Sealed = _model(vault, "sealed", sealed, __cmk_indexes__=together)
        self.Plain = _model(vault, "plain", plain)
        vault.create()
        self.session = vault.session()

    def add(self, sealed: Sequence[dict[str, Any]], plain: Sequence[dict[str, Any]]) -> None:
        """Write rows, numbered from 1 on."""
        for model, rows in ((self.Sealed, sealed), (self.Plain, plain)):
            self.session.add_all([model(id=number, **row) for number, row in enumerate(rows, 1)])
        self.session.commit()

    def sealed(self, criterion: Any, *order: Any) -> list[int] | str:
        """The rows that meet a criterion; or why there is no answer."""
        try:
            return self._found(self.Sealed, criterion, order)
        except UnsupportedOperation as error:
            return str(error)

    def plain(self, criterion: Any, *order: Any) -> list[int]:
        """The twin's rows that meet a criterion."""
        return self._found(self.Plain, criterion, order)

    def _found(self, model: Any, criterion: Any, order: Any) -> list[int]:
        statement = select(model).where(criterion).order_by(*order or (model.id,))
        return [row.id for row in self.session.scalars(statement)]

    def check_all(self, check: Callable[[Any], None], values: SearchStrategy[Any], *, times: int = 1) -> None:
        """Check a property of generated values; so many times as often as others."""
        examples = times * EXAMPLES[self.vault.engine.dialect.name]
        settings(max_examples=examples, deadline=None)(given(values)(check))()

    def plan(self, criterion: Any) -> str:
        """How the database means to find the rows that meet a criterion, if scanning them all is dear."""
        engine, sent = self.vault.engine, []
        kind = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"

        def note(*arguments: Any) -> None:
            sent.append(arguments[2:4])

        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET enable_seqscan = off")
            event.listen(connection, "after_cursor_execute", note)
            # All columns: those of an index could be read by scanning that.
            connection.execute(select(self.Sealed).where(criterion))
            statement, parameters = sent[0]
            return "\n".join(map(str, connection.exec_driver_sql(f"{kind} {statement}", parameters)))


def _model(vault: Vault, name: str, columns: dict[str, Any], **more: Any) -> Any:
    fields = {key: mapped_column(type_, nullable=True) for key, type_ in columns.items()}
    key = {"id": mapped_column(primary_key=True), "__annotations__": {"id": Mapped[int]}}
    return type(name.title(), (vault.base,), {"__tablename__": name, **key, **fields, **more})


def _heed_case(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA case_sensitive_like = 1")
