"""``fold``: takes texts for equal that differ in case, in width or in how accents are written.

NFKC, casefold, NFKC, as Unicode's caseless matching of identifiers. Unicode keeps the result for text whose
characters are all assigned (its stability policy), but every release assigns more, and each Python has the
tables of one release. So every character that Unicode 14.0 did not assign is left alone, and divides a text
into runs that are folded one by one: all Pythons from 3.11 on make the same of a text.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from sqlalchemy_cmk.search.normalizers.unicode14 import FIRST_PLANE, OTHER_PLANES


def _class(table: str) -> str:
    words = [word.partition("-") for word in table.split()]
    return f"[{''.join(f'{chr(int(first, 16))}-{chr(int(last or first, 16))}' for first, _, last in words)}]"


# The ranges beyond the first plane are tried one after the other, so only for characters that may be there.
_LAST_OF_FIRST_PLANE = "\uffff"
_unassigned_in_first_plane = re.compile(f"({_class(FIRST_PLANE)}+)")
_unassigned = re.compile(f"((?:{_class(FIRST_PLANE)}|(?![\0-\uffff]){_class(OTHER_PLANES)})+)")


def folded(text: str) -> str:
    """Return a text folded; folding it again changes nothing."""
    if text.isascii():
        return text.lower()
    pattern = _unassigned if max(text) > _LAST_OF_FIRST_PLANE else _unassigned_in_first_plane
    runs = pattern.split(text)
    # Every second part is what divided the runs.
    runs[::2] = map(_folded_run, runs[::2])
    return "".join(runs)


def _folded_run(run: str) -> str:
    return normalize("NFKC", normalize("NFKC", run).casefold())
