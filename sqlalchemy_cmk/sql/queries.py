"""Goes through the queries of one statement. See :class:`Queries`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table

from sqlalchemy_cmk.sql.columns import (
    Output,
    Outputs,
    Path,
    Source,
    Star,
    expanded,
    renamed,
    sealed_in,
    united,
)
from sqlalchemy_cmk.sql.refusals import refuse_randomized, refuse_text, refuse_use
from sqlalchemy_cmk.sql.schema import Schema
from sqlalchemy_cmk.sql.scope import Scope
from sqlalchemy_cmk.sql.trees import expressions, own_nodes, part, unwrapped
from sqlalchemy_cmk.sql.uses import Uses

# The queries of WITH clauses by name, each with what it may name itself.
Ctes = Mapping[str, Any]


class Queries:
    """Finds what each query of a statement returns, and has every use of a sealed column looked at.

    Args:
        schema: the tables.
        uses: looks at uses of sealed columns, and keeps what is compared.
    """

    def __init__(self, schema: Schema, uses: Uses) -> None:
        self._schema = schema
        self.uses = uses
        # Tables whose place in the statement is understood.
        self.seen: set[int] = set()
        self._unions = 0

    def outputs(self, node: Any, ctes: Ctes, outer: Scope | None, path: Path) -> Outputs:
        """Return what a query returns.

        Raises:
            UnsupportedOperation: it misuses a sealed column, or is not understood.
        """
        exp = expressions()
        if part(node, "with") is not None:
            ctes = self._with_ctes(part(node, "with"), ctes, outer, path)
        if isinstance(node, exp.Subquery | exp.Paren):
            self._ordered(node, outputs := self.outputs(node.this, ctes, outer, path))
            return outputs
        if isinstance(node, exp.SetOperation):
            return self._united(node, ctes, outer, path)
        if isinstance(node, exp.Select):
            return self._selected(node, ctes, outer, path)
        return [Star(None, path)] if self._is_plain(node, ctes) else refuse_text(f"a {node.key} in a query")

    def _with_ctes(self, with_: Any, ctes: Ctes, outer: Scope | None, path: Path) -> Ctes:
        found: dict[str, Any] = dict(ctes)
        for cte in with_.expressions:
            name = cte.alias.casefold()
            inside: dict[str, Any] = dict(found)
            if with_.recursive and self._names(cte.this, name):
                inside[name] = None
                if not self._is_plain(cte.this, found):
                    refuse_text("a recursive query over a table with sealed columns")
            self.outputs(cte.this, inside, outer, (*path, "with", name))
            found[name] = None if inside.get(name, cte) is None else (cte, inside, outer)
        return found

    def _names(self, node: Any, name: str) -> bool:
        return any(one.name.casefold() == name for one in node.find_all(expressions().Table))

    def _united(self, node: Any, ctes: Ctes, outer: Scope | None, path: Path) -> Outputs:
        self._unions += 1
        number = self._unions
        left = self.outputs(node.this, ctes, outer, (*path, "left"))
        right = self.outputs(node.expression, ctes, outer, (*path, "right"))
        found = united(left, right, number, may_mix=_is_outermost(path, outer))
        if node.args.get("distinct") or not isinstance(node, expressions().Union):
            self._require_equal(found, "a UNION that leaves out equal rows")
        self._ordered(node, found)
        return found

    def _selected(self, node: Any, ctes: Ctes, outer: Scope | None, path: Path) -> Outputs:
        exp = expressions()
        scope = Scope(self._schema, outer)
        sources = self._from(node)
        for index, source in enumerate(sources):
            if source.args.get("joins") and not self._is_plain(node, ctes):
                refuse_text("joins in brackets: write them without")
            self.add_source(scope, source, ctes, (*path, str(index)))
        for source in sources:
            if not isinstance(source, exp.Subquery):  # arguments of functions, rows of VALUES
                for column in source.find_all(exp.Column):
                    self.uses.look(column, scope)
        protected = any(one.is_protected for one in scope.sources.values())
        if protected and any(node.args.get(name) for name in ("into", "pivots", "laterals", "hint", "kind")):
            refuse_text("a SELECT with INTO, PIVOT, LATERAL or hints")
        outputs = self.projected(node.expressions, scope, may_choose=_is_outermost(path, outer))
        self.check(node, ctes, scope, path)
        for join in node.args.get("joins") or ():
            self._check_join(join, scope)
        if node.args.get("distinct"):
            self._require_equal(outputs, "DISTINCT")
        self._ordered(node, outputs)
        group = node.args.get("group")
        for term in group.expressions if group is not None else ():
            for one in self._meant(term, outputs):
                self._require_equal([one], "GROUP BY")
        where = node.args.get("where")
        if where is not None:
            self.uses.note_equalities(where.this, scope)
        return outputs

    def _from(self, node: Any) -> list[Any]:
        found = part(node, "from")
        first = [] if found is None else [found.this]
        return first + [one.this for one in node.args.get("joins") or ()]

    def add_source(self, scope: Scope, node: Any, ctes: Ctes, path: Path) -> None:
        """Add what a query selects from to its scope."""
        exp = expressions()
        name = (node.alias or getattr(node, "name", "") or "").casefold()
        alias = node.args.get("alias")
        names = [one.name.casefold() for one in (alias.args.get("columns") or ())] if alias else []
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            self.seen.add(id(node))
            if not node.db and node.name.casefold() in ctes:
                scope.add(Source(name, renamed(self._of_cte(ctes[node.name.casefold()], path), names)))
                return
            table: Table | None = self._schema.find(node.name, node.db)
            if table is not None and names:
                refuse_text("an alias names the columns of a table: use the columns' own names")
            scope.add(Source(name, [Star(table, path)], table))
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            outer = scope if isinstance(node.parent, exp.Lateral) else scope.outer
            outputs = self.outputs(node, ctes, outer, path)
            scope.add(Source(name, renamed(outputs, names)))
        elif self._is_plain(node, ctes):
            scope.add(Source(name or f"?{len(scope.sources)}", [Star(None, path)]))
        else:
            refuse_text("a table with sealed columns in brackets, LATERAL or a function: join it by its name")

    def _of_cte(self, cte: Any, path: Path) -> Outputs:
        if cte is None:
            return [Star(None, path)]
        tree, inside, outer = cte
        names = [one.name.casefold() for one in tree.args["alias"].args.get("columns") or ()]
        return renamed(self.outputs(tree.this, inside, outer, path), names)

    def projected(self, terms: list[Any], scope: Scope, *, may_choose: bool = False) -> list[Output | Star]:
        """Return what a SELECT or RETURNING lists.

        Args:
            terms: the list.
            scope: of its query.
            may_choose: whether a term may give values of several sealed columns.
        """
        exp = expressions()
        found: list[Output | Star] = []
        for term in terms:
            inner = unwrapped(term.this if isinstance(term, exp.Alias) else term)
            is_star = isinstance(inner, exp.Star)
            if is_star or (isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)):
                star = inner if is_star else inner.this
                if any(star.args.values()):
                    refuse_text("a * with exceptions")
                names = list(scope.sources) if is_star else [inner.table.casefold()]
                for name in names:
                    found += scope.outputs_of(name)
            elif isinstance(inner, exp.Column):
                found.append(Output((term.alias or inner.name).casefold(), scope.resolve(inner)))
            else:
                among = self.uses.choose(inner, scope) if may_choose else ()
                found.append(Output(term.alias.casefold(), None, among))
        return found

    def check(self, node: Any, ctes: Ctes, scope: Scope, path: Path, skip: tuple[Any, ...] = ()) -> None:
        """Look at every use of a column below a node, and at the queries in it."""
        exp = expressions()
        sources = [part(node, "from"), part(node, "with"), *skip]
        joined = [one.this for one in node.args.get("joins") or ()]
        left_out = tuple(one for one in (*sources, *joined) if one is not None)
        for number, one in enumerate(own_nodes(node, (exp.Column, exp.Query), skip=left_out)):
            if isinstance(one, exp.Column):
                self.uses.look(one, scope)
            elif isinstance(one, exp.Query):
                found = self.outputs(one, ctes, scope, (*path, "in", str(number)))
                self.uses.look_at_query(one, found)

    def _check_join(self, join: Any, scope: Scope) -> None:
        using = {one.name.casefold() for one in join.args.get("using") or ()}
        natural = join.args.get("method") == "NATURAL" and any(
            one.is_protected for one in scope.sources.values()
        )
        if natural or using & self._schema.sealed_names:
            refuse_text("NATURAL JOIN, or USING of a sealed column: write ON with the columns that are equal")

    def _ordered(self, node: Any, outputs: Outputs) -> None:
        order = node.args.get("order")
        if order is None:
            return
        if not isinstance(node, expressions().Select):  # whose names are those of the result
            self.uses.pass_by(order)
        for term in order.expressions:
            for one in self._meant(term.this, outputs):
                if one.sealed is not None:
                    refuse_use(one.sealed, "ORDER BY")

    def _meant(self, term: Any, outputs: Outputs) -> list[Output]:
        """Return the columns of a result that a term of ORDER BY or GROUP BY names, by number or alias."""
        exp = expressions()
        term = unwrapped(term)
        if isinstance(term, exp.Literal) and not term.is_string:
            if any(isinstance(one, Star) for one in outputs):
                return list(expanded(outputs))
            at = int(term.this) - 1 if term.this.isdecimal() else -1
            return [outputs[at]] if 0 <= at < len(outputs) else []  # type: ignore[list-item]
        if isinstance(term, exp.Column) and not term.table:
            return [one for one in expanded(outputs) if one.name == term.name.casefold()]
        return []

    def _require_equal(self, outputs: Outputs, what: str) -> None:
        for one in expanded(outputs):
            if one.among:
                refuse_text(f"{what}, and a column of several sealed ones")
        for sealed in sealed_in(outputs):
            if not sealed.scheme.deterministic:
                refuse_randomized(sealed, what)

    def _is_plain(self, node: Any, ctes: Ctes) -> bool:
        """Return whether a node names no protected table."""
        for one in node.find_all(expressions().Table):
            if isinstance(one.this, expressions().Identifier) and one.name.casefold() not in ctes:
                table = self._schema.find(one.name, one.db)
                if table is not None and Source("", [], table).is_protected:
                    return False
            elif one.name.casefold() in ctes:
                return False
        return True


def _is_outermost(path: Path, outer: Scope | None) -> bool:
    """Return whether what a query returns is what the statement returns."""
    return outer is None and set(path) <= {"left", "right"}
