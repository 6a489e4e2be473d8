"""What a move into the hidden column of a search index writes. See :class:`TokensOf`."""

from __future__ import annotations

from typing import Any

from sqlalchemy.types import TypeEngine

from sqlalchemy_cmk.columns.indexes import SearchIndex
from sqlalchemy_cmk.keys.model import Purpose


class TokensOf(TypeEngine[Any]):
    """What a move into a hidden column writes: the tokens of an index.

    Args:
        index: the index.
        purpose: the purpose of the DEKs under which they are made.
        build: what tells this build of the column from any other, so that no run of an earlier one goes on.
    """

    def __init__(self, index: SearchIndex, purpose: Purpose, build: str = "") -> None:
        self.index = index
        self.purpose = purpose
        self.build = build

    def __repr__(self) -> str:
        return f"TokensOf({self.index!r}, {str(self.purpose)!r}, {self.build!r})"
