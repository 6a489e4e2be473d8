"""The hidden column that a question goes to: one of the two of its index, chosen when the SQL is made."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, TypeCoerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.operators import OperatorType

from sqlalchemy_cmk.columns.index_catalogues import view_of
from sqlalchemy_cmk.columns.index_slots import Slot, refuse_renamed, refuse_unfinished, slots_of
from sqlalchemy_cmk.columns.token_columns import TokenIndex, TokenType, second_of
from sqlalchemy_cmk.errors import UnsupportedOperation

_CHOSEN = "cmk_slots"
_BESIDE = "cmk_joined_slots"


class Asked(TypeCoerce[Any]):
    """The tokens of an index, for questions.

    It is of the first hidden column in whichever FROM, and compiles to the one that has every token.

    Args:
        hidden: the first hidden column.
        index: the index.
        part: which token of a question stands beside it.
        beside: where it is compared with another index's tokens, that index.
    """

    inherit_cache = True

    def __init__(
        self,
        hidden: ColumnElement[Any],
        index: TokenIndex,
        part: Hashable = "",
        beside: TokenIndex | None = None,
    ) -> None:
        super().__init__(hidden, TokenType(index.index, part, index))
        self._beside = beside

    def self_group(self, against: OperatorType | None = None) -> Asked:
        """Return it as it is: a column needs no brackets."""
        return self

    @property
    def index(self) -> TokenIndex:
        """The index."""
        return self.type.token_index  # type: ignore[attr-defined, no-any-return]


@compiles(Asked)
def _compile(element: Asked, compiler: Any, **options: Any) -> str:
    slot = chosen_slot(compiler, element.index)
    if element._beside is not None:
        vars(compiler).setdefault(_BESIDE, []).append((element.index, element._beside))
    # In a statement that loads what belongs to an object, a parameter stands in the column's place.
    is_column = not isinstance(element.clause, BindParameter)
    second = is_column and slot is not None and slot.number == 1
    column = second_of(element.clause, element.index) if second else element.clause
    return str(compiler.process(column, **options))


def chosen_slot(compiled: Any, index: TokenIndex) -> Slot | None:
    """Return the hidden column of an index that a statement asks; the same wherever it stands in it.

    ``None`` if none can be asked: the statement is refused before it is sent.
    """
    chosen: dict[TokenIndex, Slot | None] = vars(compiled).setdefault(_CHOSEN, {})
    if index not in chosen:
        view = view_of(compiled.dialect, index.sealed.table.metadata)
        chosen[index] = slots_of(index, view).asked
    return chosen[index]


def refuse_unanswered(compiled: Any, connection: Connection) -> None:
    """Refuse a statement that asks an index whose tokens are not all there, before it is sent.

    Args:
        compiled: the statement.
        connection: where it goes: its engine's SQL is made again where an index has changed meanwhile.

    Raises:
        UnsupportedOperation: it does.
    """
    for index, slot in vars(compiled).get(_CHOSEN, {}).items():
        slots = slots_of(index, view_of(compiled.dialect, index.sealed.table.metadata))
        if slot is None or all(one.number != slot.number for one in slots.written):
            connection.engine.clear_compiled_cache()
            refuse_unfinished(slots)
            raise UnsupportedOperation(
                f"{index.where}: the index {index.index.suffix!r} has changed meanwhile: ask again"
            )
        if slots.elsewhere:
            refuse_renamed(index, slots, connection)
    for one, other in vars(compiled).get(_BESIDE, ()):
        ours, theirs = chosen_slot(compiled, one), chosen_slot(compiled, other)
        if ours is not None and theirs is not None and ours.purpose is not theirs.purpose:
            raise UnsupportedOperation(
                f"{one.where} and {other.where} have tokens under different keys: rotate the keys of both "
                "indexes, with cmk rekey indexes --rotate"
            )
