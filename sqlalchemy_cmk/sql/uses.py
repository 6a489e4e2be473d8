"""What SQL text does with sealed columns: all is refused but what is listed. See :class:`Uses`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column

from sqlalchemy_cmk.columns.column import SealedColumn
from sqlalchemy_cmk.sql.columns import Outputs, Path, Value, sealed_in
from sqlalchemy_cmk.sql.comparisons import find_comparison
from sqlalchemy_cmk.sql.refusals import refuse_literal, refuse_randomized, refuse_text, refuse_use
from sqlalchemy_cmk.sql.scope import Scope
from sqlalchemy_cmk.sql.text import MARK, SqlText
from sqlalchemy_cmk.sql.trees import choices, expressions, unwrapped, user_of

# What sqlglot calls the comparisons that a search index may answer.
OPERATORS = {
    "EQ": "=",
    "In": "IN",
    "LT": "<",
    "LTE": "<=",
    "GT": ">",
    "GTE": ">=",
    "Between": "BETWEEN",
    "Like": "LIKE",
}


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a statement gives: a parameter, or one that stands in its text.

    Attributes:
        number: which parameter of the text; ``None`` for a value in the text.
        value: the value in the text.
    """

    number: int | None
    value: Any = None


@dataclass(frozen=True, slots=True)
class Compared:
    """A parameter that a sealed column is compared with.

    Attributes:
        column: the sealed column.
        path: of which row.
        is_list: whether it is a list, of which one value has to be equal.
    """

    column: SealedColumn
    path: Path
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A comparison that a search index answers.

    Attributes:
        column: the sealed column.
        path: of which row.
        operator: ``=``, ``IN``, ``ANY``, ``<``, ``<=``, ``>``, ``>=``, ``BETWEEN`` or ``LIKE``.
        numbers: the parameters that it is compared with.
        span: where the comparison stands in the text.
        qualifier: what stands before the column's name and its dot; empty if nothing does.
    """

    column: SealedColumn
    path: Path
    operator: str
    numbers: tuple[int, ...]
    span: tuple[int, int]
    qualifier: str


class Uses:
    """Looks at each use of a column, and notes what is compared.

    Args:
        text: the statement.

    Attributes:
        compared: what the parameters are compared with, by their numbers.
        asked: the comparisons that search indexes answer.
        equalities: what the top level of WHERE clauses says of the rows of each path.
        looked: the columns of the tree that were looked at.
        cast: the parameters that are cast, by their numbers.
    """

    def __init__(self, text: SqlText) -> None:
        self._text = text
        self.compared: dict[int, Compared] = {}
        self.equalities: dict[Path, list[tuple[Column[Any], Given]]] = {}
        self.asked: list[Asked] = []
        self.looked: set[int] = set()
        self._chosen: set[int] = set()
        self.cast: set[int] = set()

    def look(self, node: Any, scope: Scope) -> None:
        """Look at one use of a column.

        Raises:
            UnsupportedOperation: it has no meaning on sealed bytes, or would send a plaintext.
        """
        exp = expressions()
        self.looked.add(id(node))
        user, used = user_of(node)
        if isinstance(node.this, exp.Star):
            listed = isinstance(user, exp.Select | exp.Returning)
            if not listed and any(sealed_in(scope.outputs_of(node.table.casefold()))):
                refuse_text(f"{node.table}.* outside of a SELECT's list")
            return
        value = scope.resolve(node)
        sealed = None if value is None else value.sealed
        if value is None or sealed is None or id(node) in self._chosen:
            return
        kind = type(user).__name__
        is_assigned = isinstance(user.parent, exp.Update)
        if (
            kind in OPERATORS
            and sealed.scheme.index
            and not is_assigned
            and not self._is_equality(user, sealed)
        ):
            self._ask(user, used, node, value, sealed, scope)
        elif isinstance(user, exp.EQ | exp.In) and not is_assigned:
            self._compare(user, used, value, sealed, scope)
        elif not _is_allowed(user, used, sealed):
            refuse_use(sealed, user.key.upper())

    def choose(self, term: Any, scope: Scope) -> tuple[Value, ...]:
        """Return the sealed columns of which a COALESCE or CASE gives one as it is; empty for all else."""
        nodes = choices(term)
        values = [scope.resolve(one) for one in nodes]
        found = tuple(one for one in values if one is not None and one.sealed is not None)
        if not found or len(found) != len(nodes):
            return ()
        self._chosen.update(map(id, nodes))
        return tuple(dict.fromkeys(found))

    def look_at_query(self, node: Any, outputs: Outputs) -> None:
        """Look at how a query inside an expression is used: as a value it would be sealed bytes."""
        user, _ = user_of(node)
        for sealed in sealed_in(outputs):
            if not isinstance(user, expressions().Exists):
                refuse_use(sealed, "a SELECT in an expression")

    def pass_by(self, node: Any) -> None:
        """Note names that are those of a result, and were looked at as such.

        Raises:
            UnsupportedOperation: there is a query among them.
        """
        if node.find(expressions().Query) is not None:
            refuse_text("a query in the ORDER BY of a UNION")
        self.looked.update(id(one) for one in node.find_all(expressions().Column))

    def note_equalities(self, criteria: Any, scope: Scope) -> None:
        """Note what the top level of a WHERE clause compares plain columns with."""
        for left, right in _equalities(criteria):
            value = scope.resolve(left)
            given = self.given(right)
            if value is not None and value.sealed is None and given is not None:
                self.equalities.setdefault(value.path, []).append((value.column, given))

    def given(self, node: Any) -> Given | None:
        """Return the value that an expression gives; ``None`` if the database computes it."""
        exp = expressions()
        node = self.without_cast(node)
        if isinstance(node, exp.Placeholder):
            return Given(self.number(node))
        if isinstance(node, exp.Null):
            return Given(None)
        if isinstance(node, exp.Literal):
            if node.is_string:
                return Given(None, node.this)
            return Given(None, int(node.this)) if node.this.isdecimal() else None
        return None

    def without_cast(self, node: Any) -> Any:
        """Return a node without brackets, and a parameter without the cast that SQLAlchemy gives it."""
        exp = expressions()
        node = unwrapped(node)
        if type(node) is exp.Cast and isinstance(node.this, exp.Placeholder) and not node.to.expressions:
            self.cast.add(self.number(node.this))
            return node.this
        return node

    def number(self, placeholder: Any) -> int:
        """Return which parameter of the text a placeholder is."""
        name = placeholder.name
        if not name.startswith(MARK) or not name.removeprefix(MARK).isdecimal():
            refuse_text("a parameter in a form that the driver does not have")
        return self._text.number(name)

    def _compare(self, user: Any, used: Any, value: Value, sealed: SealedColumn, scope: Scope) -> None:
        exp = expressions()
        if isinstance(user, exp.In):
            others = user.expressions
            if used is not user.this or user.args.get("query") or user.args.get("field") or not others:
                refuse_use(sealed, "this form of IN")
        else:
            others = [user.expression if used is user.this else user.this]
        if not sealed.scheme.deterministic:
            refuse_randomized(sealed, "a comparison")
        for other in map(self.without_cast, others):
            listed = self.without_cast(other.this) if isinstance(other, exp.Any) else None
            if isinstance(other, exp.Placeholder):
                self.compared[self.number(other)] = Compared(sealed, value.path)
            elif isinstance(listed, exp.Placeholder) and isinstance(user, exp.EQ):
                self.compared[self.number(listed)] = Compared(sealed, value.path, is_list=True)
            elif isinstance(other, exp.Column) and isinstance(user, exp.EQ):
                self._require_alike(sealed, scope.resolve(other))
            else:
                refuse_literal(sealed)

    def _is_equality(self, user: Any, sealed: SealedColumn) -> bool:
        return sealed.scheme.deterministic and isinstance(user, expressions().EQ | expressions().In)

    def _ask(self, user: Any, used: Any, node: Any, value: Value, sealed: SealedColumn, scope: Scope) -> None:
        """Note a comparison with parameters, which has to stand in the text just as it is understood."""
        exp = expressions()
        operator = OPERATORS[type(user).__name__]
        if isinstance(user, exp.In):
            given = user.expressions
        elif isinstance(user, exp.Between):
            given = [user.args["low"], user.args["high"]]
        elif isinstance(user, exp.EQ) and isinstance(user.expression, exp.Any):
            operator, given = "ANY", [user.expression.this]
        else:
            given = [user.expression]
        given = list(map(unwrapped, given))
        others = any(user.args.get(name) for name in ("query", "field", "symmetric", "unnest"))
        if used is not user.this or others or not given or isinstance(user.parent, exp.Escape):
            refuse_use(sealed, f"this form of {operator}")
        if not all(isinstance(one, exp.Placeholder) for one in given):
            refuse_literal(sealed)
        if not scope.has_table(value, sealed.table):
            refuse_use(sealed, "to ask a search index outside of the query that names the table")
        numbers = tuple(map(self.number, given))
        span = find_comparison(self._text, node.name, operator, numbers)
        if span is None:
            refuse_use(sealed, f"{operator} in this form: write column {operator} parameter")
        self.asked.append(Asked(sealed, value.path, operator, numbers, span[0], span[1]))

    def _require_alike(self, sealed: SealedColumn, value: Value | None) -> None:
        other = None if value is None else value.sealed
        if other is None:
            refuse_literal(sealed)
        alike = other.context == sealed.context and other.is_tenants is sealed.is_tenants
        if not alike or not other.scheme.deterministic:
            refuse_use(sealed, f"a comparison with {other.where}")


def _equalities(criteria: Any) -> Iterator[tuple[Any, Any]]:
    exp = expressions()
    criteria = unwrapped(criteria)
    if isinstance(criteria, exp.And):
        yield from _equalities(criteria.this)
        yield from _equalities(criteria.expression)
    elif isinstance(criteria, exp.EQ):
        left, right = unwrapped(criteria.this), unwrapped(criteria.expression)
        if not isinstance(left, exp.Column):
            left, right = right, left
        if isinstance(left, exp.Column) and not isinstance(left.this, exp.Star):
            yield left, right


def _is_allowed(user: Any, used: Any, sealed: SealedColumn) -> bool:
    exp = expressions()
    if isinstance(user, exp.Alias):
        user, used = user.parent, user
    if isinstance(user, exp.Select | exp.Returning):
        return any(one is used for one in user.expressions)
    if isinstance(user, exp.Is):
        other = user.expression.this if isinstance(user.expression, exp.Not) else user.expression
        return used is user.this and isinstance(other, exp.Null)
    if isinstance(user, exp.Count):
        return used is user.this
    if isinstance(user, exp.Group) or (isinstance(user, exp.Distinct) and isinstance(user.parent, exp.Count)):
        if not sealed.scheme.deterministic:
            refuse_randomized(sealed, user.key.upper())
        return True
    return False
