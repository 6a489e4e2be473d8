"""Text of strangers in messages and logs, where a control character could pass for something else."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text that stays on its line: what no terminal shows as a character is escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
