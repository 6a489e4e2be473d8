"""Statements that sealed bytes cannot serve: found once for each compiled statement, before it is sent.

What is allowed is listed. Every element of a statement that has a sealed expression for an operand has to be
of a kind listed in ``kinds.py``, whose function looks at how it uses the operand; any other is refused. So is
a way to write into a sealed column that the hooks do not know (``writing.py``).
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import ClauseElement, Table
from sqlalchemy.engine.interfaces import Compiled

from sqlalchemy_cmk.hooks.unsupported.check import Check
from sqlalchemy_cmk.hooks.unsupported.kinds import check_element
from sqlalchemy_cmk.hooks.unsupported.operands import held
from sqlalchemy_cmk.hooks.unsupported.parts import concerns_sealed, parts_of
from sqlalchemy_cmk.hooks.unsupported.writing import refuse_unknown_columns
from sqlalchemy_cmk.keys.dry_run import DryRun, dry_run_of, is_under_way

_passed: WeakSet[Compiled] = WeakSet()
_dry_runs: WeakKeyDictionary[Compiled, DryRun | None] = WeakKeyDictionary()


def refuse_unsupported(compiled: Compiled, dry_run: DryRun | None = None) -> None:
    """Refuse a compiled statement that would misuse a sealed column; in a dry run note all that is refused.

    Raises:
        UnsupportedOperation: it orders by, compares or computes with sealed bytes in a way that has no
            meaning, or writes to a sealed column in a way that the hooks do not see.
    """
    if compiled in _passed:
        return
    if isinstance(compiled.statement, ClauseElement):
        elements = list(parts_of(compiled))
        noting = nullcontext if dry_run is None else dry_run.noting
        if any(concerns_sealed(element) for element in elements):
            check = Check(compiled)
            for element in elements:
                with noting():
                    check_element(check, element)
        with noting():
            refuse_unknown_columns(compiled)
    if dry_run is None:  # one statement comes from several places
        _passed.add(compiled)


def check_anew(_keyring: object, _metadata: object) -> None:
    """Look at every statement again: columns have become sealed since some were compiled."""
    _passed.clear()


def dry_run_in(compiled: Compiled) -> DryRun | None:
    """Return the dry run that a statement's sealed columns are in; ``None`` if there is none."""
    if not is_under_way() or not isinstance(compiled.statement, ClauseElement):
        return None
    if compiled not in _dry_runs:
        _dry_runs[compiled] = _find_dry_run(compiled)
    return _dry_runs[compiled]


def _find_dry_run(compiled: Compiled) -> DryRun | None:
    target = getattr(compiled.statement, "table", None)
    written, binds = getattr(target, "c", ()), getattr(compiled, "bind_names", ())
    parts = list(chain((target,), written, binds, parts_of(compiled)))
    types = [type_ for one in parts if (type_ := held(one)) is not None and type_.sealed_column]
    dry_runs = [one.sealed_column.dry_run for one in types if one.sealed_column]
    if None in dry_runs:
        return None  # really sealed columns beside others: nothing is let pass
    dry_runs += [dry_run_of(one.metadata) for one in parts if isinstance(one, Table)]
    return next(filter(None, dry_runs), None)
