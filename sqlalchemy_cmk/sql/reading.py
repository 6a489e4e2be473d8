"""From the text of a statement to its plan, or to a refusal. See :func:`read_statement`."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Table

from sqlalchemy_cmk.databases.sql_text import Lexis
from sqlalchemy_cmk.sql.columns import Outputs, sealed_in
from sqlalchemy_cmk.sql.plans import Plan
from sqlalchemy_cmk.sql.queries import Queries
from sqlalchemy_cmk.sql.refusals import refuse_text, refuse_use
from sqlalchemy_cmk.sql.schema import Schema, is_protected
from sqlalchemy_cmk.sql.scope import Scope
from sqlalchemy_cmk.sql.text import SqlText, read_text
from sqlalchemy_cmk.sql.trees import expressions, parse, part
from sqlalchemy_cmk.sql.uses import Uses
from sqlalchemy_cmk.sql.writing import read_insert, read_update

# Statements that tell what a table is like, and touch no row.
_CATALOGUE = re.compile(
    r"\s*(?:PRAGMA\s+(?:\S+\.)?(?:table_x?info|index_x?info|index_list|foreign_key_list)\s*\([^()]*\)|"
    r"SHOW\s[^()]*|DESC(?:RIBE)?\s+[^()\s]+)[\s;]*$",
    re.IGNORECASE,
)


def read_statement(statement: str, lexis: Lexis, style: str, schema: Schema) -> Plan | None:
    """Return what has to be done for a statement; ``None`` if it names no protected table after all.

    Args:
        statement: the text, as the driver would be given it.
        lexis: how the database reads it.
        style: how the driver writes parameters: ``question``, ``percent`` or ``dollar``.
        schema: the tables.

    Raises:
        UnsupportedOperation: it is not understood, or asks what sealed bytes cannot answer, or would write a
            plaintext.
        ConfigurationError: sqlglot is not installed.
    """
    text = read_text(statement, lexis, style)
    if _CATALOGUE.match(text.bare):
        return None
    tree = parse(text.parsed, lexis)
    exp = expressions()
    if not isinstance(tree, exp.Query | exp.Insert | exp.Update | exp.Delete):
        refuse_text(f"a statement of the kind {tree.key.upper()}")
    if not any(_protected(one, schema) for one in tree.find_all(exp.Table)):
        return None
    nested = [one for one in tree.find_all(exp.DML, exp.Merge, exp.Command) if one is not tree]
    if any(not isinstance(one, exp.Query) for one in nested):
        refuse_text("a statement inside another")
    return _Reader(text, tree, schema).plan()


def _protected(node: Any, schema: Schema) -> bool:
    if not isinstance(node.this, expressions().Identifier):
        return False
    table = schema.find(node.name, node.db)
    return table is not None and is_protected(table)


class _Reader:
    def __init__(self, text: SqlText, tree: Any, schema: Schema) -> None:
        self.text = text
        self.tree = tree
        self.schema = schema
        self.uses = Uses(text)
        self.queries = Queries(schema, self.uses)

    def plan(self) -> Plan:
        exp = expressions()
        if isinstance(self.tree, exp.Query):
            plan = Plan(self.text, self.queries.outputs(self.tree, {}, None, ()))
        else:
            plan = self.changed()
        self.require_all_looked_at()
        self.require_one_use(plan)
        sealed = (*plan.written, *self.uses.compared)
        return Plan(
            self.text.without_casts(self.uses.cast.intersection(sealed)),
            plan.outputs,
            self.uses.compared,
            tuple(self.uses.asked),
            self.uses.equalities,
            plan.inserted,
            plan.updated,
        )

    def changed(self) -> Plan:
        """Read an INSERT, UPDATE or DELETE."""
        exp = expressions()
        if part(self.tree, "with") is not None or part(self.tree, "from") is not None:
            refuse_text("WITH, FROM or a join in an INSERT, UPDATE or DELETE")
        target = self.tree.this.this if isinstance(self.tree.this, exp.Schema) else self.tree.this
        if not isinstance(target, exp.Table) or self.tree.args.get("using") or target.args.get("joins"):
            refuse_text("it does not change one table by its name")
        scope = Scope(self.schema, None)
        self.queries.add_source(scope, target, {}, ("target",))
        table = self.schema.find(target.name, target.db)
        returning = self.tree.args.get("returning")
        outputs: Outputs = () if returning is None else self.queries.projected(returning.expressions, scope)
        if returning is not None and returning.args.get("into"):
            refuse_text("RETURNING ... INTO")
        return self.read(target, table, scope, outputs)

    def read(self, target: Any, table: Table | None, scope: Scope, outputs: Outputs) -> Plan:
        exp = expressions()
        if isinstance(self.tree, exp.Insert):
            if table is None or not is_protected(table):
                self.queries.check(self.tree, {}, scope, ("inside",), skip=self.rows_from_query())
                self.refuse_copying()
                return Plan(self.text, outputs)
            inserted = read_insert(self.text, self.tree, table, self.uses)
            self.queries.check(self.tree, {}, scope, ("inside",), skip=(self.tree.this,))
            return Plan(self.text, outputs, inserted=inserted)
        path = ("target", *())
        where = self.tree.args.get("where")
        if where is not None:
            self.uses.note_equalities(where.this, scope)
        if not isinstance(self.tree, exp.Update):
            self.queries.check(self.tree, {}, scope, ("inside",), skip=(target,))
            return Plan(self.text, outputs)
        updated, assigned = read_update(self.text, self.tree, target, table, path, self.uses)
        self.queries.check(self.tree, {}, scope, ("inside",), skip=(target, *assigned))
        return Plan(self.text, outputs, updated=updated)

    def rows_from_query(self) -> tuple[Any, ...]:
        query = self.tree.expression
        return (query,) if isinstance(query, expressions().Query) else ()

    def refuse_copying(self) -> None:
        """Refuse to copy sealed bytes into a table that is not their own."""
        for query in self.rows_from_query():
            for sealed in sealed_in(self.queries.outputs(query, {}, None, ("rows",))):
                refuse_use(sealed, "to copy it into another table")

    def require_all_looked_at(self) -> None:
        """Refuse a statement of which a part was passed by: nothing is let through that is not understood.

        Names of sealed columns are counted in the text as well, which sqlglot does not see.
        """
        exp = expressions()
        for column in self.tree.find_all(exp.Column):
            if id(column) not in self.uses.looked:
                refuse_text(f"{column.name} stands where no column was expected")
        for table in self.tree.find_all(exp.Table):
            if id(table) not in self.queries.seen and _protected(table, self.schema):
                refuse_text(f"{table.name} stands where no table was expected")
        named = 0
        for one in self.tree.find_all(exp.Identifier):
            if one.name.casefold() in self.schema.sealed_names:
                named += 1
                allowed = (exp.Column, exp.Alias, exp.TableAlias, exp.Schema, exp.Table)
                if not isinstance(one.parent, allowed):
                    refuse_text(f"{one.name} stands where no column was expected")
        words = re.findall(r"[^\W\d]\w*", re.sub(r"([\"'`\[])~*.?", " ", self.text.bare))
        written = sum(word.casefold() in self.schema.sealed_names for word in (*words, *self.text.names))
        if written != named:
            refuse_text("a name of a sealed column stands where no column was expected")

    def require_one_use(self, plan: Plan) -> None:
        """Refuse a parameter that is sealed for one place and used in another."""
        keys = [one.key for one in self.text.parameters]
        asked = [number for one in self.uses.asked for number in one.numbers]
        uses: dict[int, object] = {**self.uses.compared, **dict.fromkeys((*plan.written, *asked))}
        for number in uses:
            same = [i for i, key in enumerate(keys) if key == keys[number]]
            if len(same) > 1 and any(
                self.uses.compared.get(i) != self.uses.compared.get(number) for i in same
            ):
                self.refuse_shared(keys[number])
            if len(same) > 1 and (number in plan.written or number in asked):
                self.refuse_shared(keys[number])

    def refuse_shared(self, key: object) -> None:
        refuse_text(
            f"the parameter {key!r} is sealed for one place and used in another too: give each its own"
        )
