"""Statements that sealed bytes cannot serve: found once for each compiled statement, before it is sent.

What is allowed is listed. Every element of a statement that has a sealed expression for an operand has to be
of a kind listed in ``kinds.py``, whose function looks at how it uses the operand; any other is refused. So is
a way to write into a sealed column that the hooks do not know (``writing.py``).
"""

from __future__ import annotations

from weakref import WeakSet

from sqlalchemy import ClauseElement
from sqlalchemy.engine.interfaces import Compiled

from sqlalchemy_cmk.hooks.unsupported.check import Check
from sqlalchemy_cmk.hooks.unsupported.kinds import check_element
from sqlalchemy_cmk.hooks.unsupported.parts import parts_of
from sqlalchemy_cmk.hooks.unsupported.writing import refuse_unknown_columns

_passed: WeakSet[Compiled] = WeakSet()


def refuse_unsupported(compiled: Compiled) -> None:
    """Refuse a compiled statement that would misuse a sealed column.

    Raises:
        UnsupportedOperation: it orders by, compares or computes with sealed bytes in a way that has no
            meaning, or writes to a sealed column in a way that the hooks do not see.
    """
    if compiled in _passed:
        return
    if isinstance(compiled.statement, ClauseElement):
        check = Check(compiled)
        for element in parts_of(compiled):
            check_element(check, element)
        refuse_unknown_columns(compiled)
    _passed.add(compiled)
