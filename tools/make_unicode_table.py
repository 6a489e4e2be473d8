"""Makes the table of the code points that are not assigned in Unicode 14.0: run with CPython 3.11.

``python3.11 tools/make_unicode_table.py`` writes sqlalchemy_cmk/search/normalizers/unicode14.py.
"""

import sys
import unicodedata
from pathlib import Path

VERSION = "14.0.0"
FILE = Path(__file__).parent.parent / "sqlalchemy_cmk/search/normalizers/unicode14.py"
HEAD = '''"""The code points that are not assigned in Unicode 14.0. Made by tools/make_unicode_table.py.

The table stays at one version: tokens made with another one would not be found.
"""

# Ranges, from first to last, in hexadecimal. Characters of other planes are in the second text.
'''


def unassigned() -> list[tuple[int, int]]:
    """Return the first and the last code point of each range."""
    ranges: list[tuple[int, int]] = []
    for point in range(sys.maxunicode + 1):
        if unicodedata.category(chr(point)) == "Cn":
            # No range crosses from the first plane into the second: they stand in two texts.
            if ranges and ranges[-1][1] + 1 == point and point != 0x10000:
                ranges[-1] = ranges[-1][0], point
            else:
                ranges.append((point, point))
    return ranges


def literal(name: str, ranges: list[tuple[int, int]]) -> str:
    """Return an assignment in source text, as ruff formats it."""
    words = [f"{first:x}" if first == last else f"{first:x}-{last:x}" for first, last in ranges]
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > 98:
            lines.append("")
        lines[-1] += f"{word} "
    body = "\n".join(f'    "{line}"' for line in [*lines[:-1], lines[-1].rstrip()])
    return f"{name} = (\n{body}\n)\n"


def text() -> str:
    """Return the module."""
    found = unassigned()
    first = [one for one in found if one[0] < 0x10000]
    return HEAD + literal("FIRST_PLANE", first) + literal("OTHER_PLANES", found[len(first) :])


if __name__ == "__main__":
    if unicodedata.unidata_version != VERSION:
        raise SystemExit(
            f"this Python has Unicode {unicodedata.unidata_version}, not {VERSION}: use CPython 3.11"
        )
    FILE.write_text(text(), encoding="utf-8")
