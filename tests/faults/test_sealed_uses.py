"""A ``Sealed`` is not mistaken for a value: every use as one raises, and what a page needs of it works."""

import copy
import json
import math
import operator
import pickle
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sqlalchemy_cmk import KeyRevoked, Sealed

USES: dict[str, Callable[[Any], object]] = {
    "==": lambda sealed: sealed == "x",
    "== on the right": lambda sealed: "x" == sealed,  # noqa: SIM300
    "!=": lambda sealed: sealed != "x",
    "<": lambda sealed: sealed < "x",
    ">=": lambda sealed: date(2000, 1, 1) >= sealed,
    "sorted": lambda sealed: sorted([sealed, "x"]),
    "bool": bool,
    "not": operator.not_,
    "len": len,
    "iteration": list,
    "reversed": reversed,
    "in it": lambda sealed: "x" in sealed,
    "in a list": lambda sealed: sealed in ["x"],
    "subscript": lambda sealed: sealed[0],
    "slice": lambda sealed: sealed[:3],
    "attribute": lambda sealed: sealed.year,
    "method": lambda sealed: sealed.upper(),
    "int": int,
    "float": float,
    "complex": complex,
    "bytes": bytes,
    "index": lambda sealed: ["x"][sealed],
    "round": round,
    "floor": math.floor,
    "-x": operator.neg,
    "+x": operator.pos,
    "~x": operator.invert,
    "abs": abs,
    "% of a text": lambda sealed: "%d" % sealed,  # noqa: UP031
    "format as a number": lambda sealed: f"{sealed:.2f}",
    "format as a date": lambda sealed: f"{sealed:%Y}",
}
for symbol in ("+", "-", "*", "/", "//", "%", "**", "&", "|", "^", "<<", ">>"):
    USES[f"x {symbol} 2"] = eval(f"lambda sealed: sealed {symbol} 2")
    USES[f"2 {symbol} x"] = eval(f"lambda sealed: 2 {symbol} sealed")
USES["x + text"], USES["text + x"] = lambda sealed: sealed + "!", lambda sealed: "!" + sealed


@pytest.fixture(scope="module")
def lone() -> Sealed:
    return Sealed("acme", "patients.ssn", "local:acme is disabled", b"\1" + bytes(48))


@pytest.mark.parametrize("use", USES)
def test_every_use_as_a_value_raises(lone: Sealed, use: str) -> None:
    with pytest.raises(KeyRevoked, match=r"patients\.ssn: the value is sealed \(local:acme is disabled\)"):
        USES[use](lone)


def test_what_takes_only_its_own_types_does_not_take_it(lone: Sealed) -> None:
    for use in (json.dumps, Decimal, Path, "".join, memoryview):
        with pytest.raises((TypeError, KeyRevoked)):
            use([lone] if use == "".join else lone)  # type: ignore[operator]
    with pytest.raises(AttributeError):
        lone.note = "x"  # type: ignore[attr-defined]


def test_sealed_values_can_be_told_apart_and_kept_in_sets(lone: Sealed) -> None:
    same = Sealed("acme", "patients.ssn", "another reason", b"\1" + bytes(48))
    other = Sealed("acme", "patients.ssn", "local:acme is disabled", b"\1" * 49)
    assert lone == same and lone != other and lone is not None
    assert len({lone, same, other}) == 2
    assert (lone == None) is False and (lone != None) is True  # noqa: E711


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_stands_for_the_same_value(lone: Sealed, copied: Callable[[Any], Any]) -> None:
    again = copied(lone)
    assert again == lone and hash(again) == hash(lone) and repr(again) == repr(lone)
    with pytest.raises(KeyRevoked):
        bool(again)
