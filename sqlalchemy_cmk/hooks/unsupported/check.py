"""What elements of each known kind may do with a sealed operand. ``kinds.py`` lists the kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BindParameter,
    Cast,
    CompoundSelect,
    Delete,
    ScalarSelect,
    Select,
    TextClause,
    TypeCoerce,
)
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql import functions, operators
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.sql.functions import Function
from sqlalchemy.types import ARRAY

from sqlalchemy_cmk.columns.type import EncryptedType
from sqlalchemy_cmk.databases import sqlalchemy_private as private
from sqlalchemy_cmk.errors import UnsupportedOperation
from sqlalchemy_cmk.hooks.unsupported.comparing import check_comparison, check_equal
from sqlalchemy_cmk.hooks.unsupported.operands import (
    CHOOSING,
    alternatives,
    are_alike,
    flat,
    held,
    inner_of,
    is_list,
    is_null,
    is_random,
    is_row_bound,
    is_sealed,
    keeps_bytes,
    kind_of,
    plain_reading,
    sealed_type,
    untyped_choice,
    where,
)
from sqlalchemy_cmk.hooks.unsupported.parts import children
from sqlalchemy_cmk.hooks.unsupported.refusals import (
    refuse_extreme,
    refuse_grouping,
    refuse_mixture,
    refuse_plain,
    refuse_row_bound,
    refuse_type,
    refuse_use,
)
from sqlalchemy_cmk.hooks.unsupported.selecting import (
    check_groups,
    check_order,
    check_select,
    order_by_of,
    partition_by_of,
)
from sqlalchemy_cmk.hooks.unsupported.writing import check_copied_table, check_delete, check_write

# Functions of which SQLAlchemy knows no more than the name: what they do is known here.
_FUNCTIONS = (
    *(Function, functions.count, functions.coalesce, functions.array_agg),
    *(functions.min, functions.max),
)


class Check:
    """Looks at the elements of one statement, a parent before its children.

    Args:
        compiled: the compiled statement.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._whole = private.whole_statements(compiled)

    def statements(self, element: Any) -> None:
        """SELECT, UNION, INSERT, UPDATE, DELETE."""
        if isinstance(element, Select | CompoundSelect):
            check_select(element)
        elif isinstance(element, Delete):
            check_delete(element)
        else:
            check_write(element, nested=all(element is not one for one in self._whole))

    def any_operand(self, element: Any) -> None:
        """What is an operand itself, or a list whose parent looks at its items."""

    def same(self, element: Any) -> None:
        """What gives its operand's values as they are."""
        for one in children(element):
            sealed = held(one)
            if sealed is not None and not is_list(one):
                given = held(element)
                if given is None or not are_alike(given, sealed) or is_sealed(element) != is_sealed(one):
                    refuse_type(element, sealed)

    def condition(self, element: Any) -> None:
        """AND and OR: sealed values are not conditions."""
        for one in element.clauses:
            sealed = held(one)
            if sealed is not None:
                refuse_use(element, sealed)

    def comparison(self, element: Any) -> None:
        """Binary operators."""
        check_comparison(element)

    def refused(self, element: Any) -> None:
        """An operation that was refused when it was built; a dry run has compiled it all the same."""
        raise element.error()

    def unary(self, element: Any) -> None:
        """DISTINCT in an aggregate, and directions of an ORDER BY."""
        sealed = held(element.element)
        if element.modifier is not None and sealed is not None:
            check_order(element)
        elif sealed is not None:
            if element.operator is not operators.distinct_op or not is_sealed(element.element):
                refuse_use(element, sealed)
            if is_random(sealed):
                refuse_grouping("DISTINCT", sealed)
            self.same(element)

    def window(self, element: Any) -> None:
        """Windows and ordered aggregates."""
        for clause in order_by_of(element):
            check_order(clause)
        check_groups("PARTITION BY", partition_by_of(element))
        sealed = held(getattr(element, "target", None) if hasattr(element, "target") else element.element)
        if sealed is not None and held(element) is None:
            refuse_type(element, sealed)

    def filtered(self, element: Any) -> None:
        """An aggregate with a FILTER."""
        sealed = held(element.criterion)
        if sealed is not None:
            refuse_use(element, sealed)

    def tuple(self, element: Any) -> None:
        """Rows of values, which are compared."""
        for one in alternatives(element.clauses):
            sealed = held(one)
            if sealed is not None and is_random(sealed):
                refuse_grouping("a comparison of rows", sealed)

    def case(self, element: Any) -> None:
        """CASE: conditions, or values that are compared; results of one context."""
        conditions = [condition for condition, _ in element.whens]
        if element.value is not None:
            for one in conditions:
                check_equal(element, element.value, one)
        else:
            for one in conditions:
                sealed = held(one)
                if sealed is not None:
                    refuse_use(element, sealed)
        self.choice(element, [*(result for _, result in element.whens), element.else_])

    def function(self, element: Any) -> None:
        """Functions that are known by name."""
        name = str(element.name).lower()
        operands = list(element.clauses)
        found = [held(part) for one in operands for part in flat(one)]
        sealed = next((type_ for type_ in (*found, held(element)) if type_ is not None), None)
        if sealed is None:
            return
        known = kind_of(element) in _FUNCTIONS and not getattr(element, "packagenames", ())
        if known and name == "count" and all(is_sealed(one) or held(one) is None for one in operands):
            if held(element) is not None:
                refuse_use(element, sealed)
        elif known and name in CHOOSING:
            if name == "nullif":
                check_equal(element, operands[0], operands[-1])
            self.choice(element, operands)
        elif known and name in ("min", "max"):
            refuse_extreme(name, sealed)
        elif known and name == "array_agg":
            self.container(element, operands)
        else:
            refuse_use(element, sealed)

    def array(self, element: Any) -> None:
        """PostgreSQL's ARRAY[...]."""
        self.container(element, element.clauses)

    def choice(self, element: Any, operands: Iterable[Any]) -> None:
        """Refuse what gives one of several values, unless all open alike."""
        sealed = self._alike(element, operands)
        given = element.type
        if sealed is None and isinstance(given, EncryptedType):
            refuse_plain(element, given)
        alike = sealed is None or (isinstance(given, EncryptedType) and are_alike(given, sealed))
        if sealed is not None and not alike and untyped_choice(element) is None:
            refuse_type(element, sealed)

    def container(self, element: Any, operands: Iterable[Any]) -> None:
        """Refuse an array, unless all items open alike."""
        sealed = self._alike(element, operands)
        given = element.type.item_type if isinstance(element.type, ARRAY) else None
        if sealed is None and held(element) is not None:
            refuse_plain(element, held(element))  # type: ignore[arg-type]
        if sealed is not None and not (isinstance(given, EncryptedType) and are_alike(given, sealed)):
            refuse_type(element, sealed)

    def conversion(self, element: Any) -> None:
        """CAST and type_coerce."""
        operand, type_ = inner_of(element), element.type
        if isinstance(operand, Grouping):
            operand = operand.element
        sealed, target = held(operand), sealed_type(type_)
        if sealed is not None and target is None:
            plain = plain_reading(element)
            adopted = plain is not None and plain.scheme.accept_plaintext
            if not adopted and not (keeps_bytes(type_) and is_sealed(operand)):
                refuse_type(element, sealed)
        elif sealed is not None:
            if not (isinstance(type_, EncryptedType) and is_sealed(operand) and are_alike(sealed, type_)):
                refuse_type(element, sealed)
        elif target is not None:
            chosen = untyped_choice(operand)
            if chosen is not None and not (isinstance(type_, EncryptedType) and are_alike(chosen, target)):
                refuse_type(element, chosen)
            # type_coerce gives a parameter its type, so that its value is sealed.
            typed = isinstance(element, TypeCoerce) and isinstance(operand, BindParameter)
            if chosen is None and not (typed or is_null(operand) or _may_be_stored(operand)):
                refuse_plain(element, target)

    def text(self, element: Any) -> None:
        """SQL text: its parameters may be values of a deterministic column, which it compares."""
        for one in children(element):
            sealed = held(one)
            if sealed is not None and not (isinstance(one, BindParameter) and not is_random(sealed)):
                raise UnsupportedOperation(
                    f"SQL text with {where(sealed)}: what it does with a sealed value cannot be seen: use "
                    "the column in an expression, and text for the rest"
                )

    def whole_rows(self, element: Any) -> None:
        """What takes the rows of a table as values, or makes columns of something else."""
        source = getattr(element, "scalar_alias", element)
        for one in getattr(source, "c", ()):
            sealed = held(one)
            if sealed is not None:
                refuse_use(element, sealed)

    def copied_table(self, element: Any) -> None:
        """CREATE TABLE AS and CREATE VIEW."""
        check_copied_table(element)

    def _alike(self, element: Any, operands: Iterable[Any]) -> EncryptedType | None:
        found = list(alternatives(operands))
        sealed = next((type_ for one in found if (type_ := held(one)) is not None), None)
        if sealed is None:
            return None
        for one in found:
            type_ = held(one)
            if type_ is None:
                refuse_plain(element, sealed)
            if not is_sealed(one):
                refuse_use(element, type_)
            if is_row_bound(type_):
                refuse_row_bound(element, type_)
            if not are_alike(type_, sealed):
                refuse_mixture(type(element).__name__, sealed, type_)
        return sealed


def _may_be_stored(operand: Any) -> bool:
    """Return whether an expression may give stored bytes: a column or text, no value."""
    bytes_ = keeps_bytes(getattr(operand, "type", None))
    known = isinstance(operand, ColumnClause | TypeCoerce | Cast | ScalarSelect)
    return isinstance(operand, TextClause) or (known and bytes_)
