"""Makes the tokens that the criteria of one execution compare with. See :class:`QuestionTokens`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy_cmk.columns.asked import chosen_slot
from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.columns.indexes import Tokens
from sqlalchemy_cmk.columns.token_columns import TokenIndex, Untokened
from sqlalchemy_cmk.databases import database_of
from sqlalchemy_cmk.errors import InvalidValue, UnsupportedOperation
from sqlalchemy_cmk.scope import PLATFORM_TENANT
from sqlalchemy_cmk.search.intervals import NOTHING, Interval, IntervalTokens, SlotType


class QuestionTokens:
    """Makes tokens under the search DEK of whose rows a statement asks for; it makes no DEK.

    Args:
        context: SQLAlchemy's execution context.
        owner: given a sealed column and the number of a parameter set, returns whose values are compared.
    """

    def __init__(self, context: Any, owner: Callable[[SealedColumn, int], str]) -> None:
        self._context = context
        self._owner = owner
        self._made: dict[tuple[TokenIndex, str], Tokens] = {}
        self._intervals: dict[tuple[Any, ...], list[Interval]] = {}

    def of(self, value: Untokened, row: int) -> Any:
        """Return the token of a value, as the driver takes it.

        Args:
            value: the value, and which token it stands for.
            row: which of the execution's parameter sets it is of.

        Raises:
            TenantRequired: neither the statement nor a scope names the tenant.
            InvalidValue: the index cannot be asked for the value; the message does not show it.
            KeyRevoked: the owner's KEK refuses, or the owner was shredded.
            KeyUnavailable: the KEK or the key tables cannot be reached, and the grace is over.
        """
        tokens = value.type.token_index
        if tokens is None:
            raise UnsupportedOperation(
                "a question about an index that belongs to no column: use the model's own"
            )
        made = self._tokens(tokens, row)
        reason = ""
        try:
            if isinstance(value.type, SlotType):
                return self._bound(made, value.type, row)
            token = made.of_question(value.type.part, value.value)
        except InvalidValue as error:
            reason = str(error)
        if reason:
            raise InvalidValue(f"{tokens.sealed.where}: {reason}")
        return database_of(self._context.dialect).bind_grams(token) if tokens.index.stores_grams else token

    def _tokens(self, tokens: TokenIndex, row: int) -> Tokens:
        everybody = tokens.index.across_tenants
        owner = PLATFORM_TENANT if everybody else self._owner(tokens.sealed, row)
        made = self._made.get((tokens, owner))
        if made is None:
            keys = tokens.sealed.keys_on(self._context.root_connection)
            slot = chosen_slot(self._context.compiled, tokens)
            dek = None if slot is None else keys.existing(owner, slot.purpose)
            made = self._made[tokens, owner] = tokens.under(dek)
        return made

    def _bound(self, made: Any, slot: SlotType, row: int) -> bytes | None:
        asked = made, slot.asked, *slot.names, row
        found = self._intervals.get(asked)
        if found is None:
            found = self._intervals[asked] = self._answer(made, slot, row)
        if not found:
            return None
        return found[slot.slot][slot.side]

    def _answer(self, made: IntervalTokens, slot: SlotType, row: int) -> list[Interval]:
        """Return all intervals of a question; none where it compares with NULL."""
        values = slot.values(self._context.compiled_parameters[row])
        nulls = values.count(None)
        if nulls == len(values):
            return []
        if nulls:
            raise InvalidValue("BETWEEN a value and NULL: give both, or compare with < or >")
        slots = slot.asked.slots
        found = made.intervals(slot.asked.asked, values)
        if len(found) > slots:
            raise InvalidValue(
                f"the question needs {len(found)} intervals of tokens, and {slots} were reserved when the "
                "statement was built: give the values themselves, and not other ones later"
            )
        return found + [NOTHING] * (slots - len(found))
