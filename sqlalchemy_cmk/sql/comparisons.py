"""Where a comparison with parameters stands in a text. See :func:`find_comparison`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from sqlalchemy_cmk.sql.text import SqlText


def find_comparison(
    text: SqlText, name: str, operator: str, numbers: Sequence[int]
) -> tuple[tuple[int, int], str] | None:
    """Return where ``column operator parameters`` stands in a text, and what is before the column's dot.

    ``None`` if something else stands there.
    """
    first, last = text.parameters[numbers[0]], text.parameters[numbers[-1]]
    in_brackets = operator in ("IN", "ANY")
    opening = r"\s*\(\s*" if in_brackets else r"\s*"
    spelled = r"=\s*ANY" if operator == "ANY" else re.escape(operator)
    word = r"(?:\w+|\"~+\"|`~+`|\[~+\])"
    before = re.compile(rf"(?:({word})\s*\.\s*)?({word})\s*{spelled}{opening}$", re.IGNORECASE)
    found = before.search(text.bare[: first.start])
    after = re.compile(r"\s*\)" if in_brackets else "").match(text.bare, last.end)
    between = {"IN": r"\s*,\s*", "BETWEEN": r"\s*AND\s*"}.get(operator, "")
    gaps = pairwise(numbers)
    joined = all(
        re.fullmatch(between, text.bare[text.parameters[a].end : text.parameters[b].start], re.IGNORECASE)
        for a, b in gaps
    )
    if found is None or after is None or not joined or text.bare[: found.start()].rstrip().endswith("."):
        return None
    written = text.parsed[found.start(2) : found.end(2)]
    if written.strip('"`[]').casefold() != name.casefold():
        return None
    qualifier = text.parsed[found.start(1) : found.end(1)] if found.group(1) else ""
    return (found.start(), after.end()), qualifier
