"""Keys that were opened side by side. See :class:`KeyBatch`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Future
from copy import copy
from typing import Generic, TypeVar

from sqlalchemy_cmk.keys.model import OpenedDek
from sqlalchemy_cmk.keys.opening.flows import result_of

Q = TypeVar("Q", bound=Hashable)


class KeyBatch(Generic[Q]):
    """What several questions for keys were answered with. One that failed is raised where its key is used.

    It keeps the keys, however few the keyring keeps open. It is for the work that it was opened for, and not
    for keeping: nothing here looks at deadlines.

    Args:
        answers: by question, the opened DEK, ``None`` if there is none, or why it is not open.
        held: DEKs that were open already.
    """

    def __init__(
        self, answers: Mapping[Q, Future[OpenedDek | None]], held: Mapping[Q, OpenedDek] | None = None
    ) -> None:
        self._answers = answers
        self._held = held or {}

    def __getitem__(self, question: Q) -> OpenedDek | None:
        """Return a key; ``None`` if there is none, or raise why it is not open."""
        held = self._held.get(question)
        if held is not None:
            return held
        answer = self._answers[question]
        error = answer.exception()
        if error is None:
            return answer.result()
        # Copies have no traceback, whose frames would be kept and shared between threads.
        raise copy(error) from error.__cause__

    def opened(self) -> Iterator[tuple[Q, OpenedDek]]:
        """Return the questions that were answered with a key, and the keys."""
        yield from self._held.items()
        for question, answer in self._answers.items():
            dek = result_of(answer)
            if dek is not None:
                yield question, dek

    def with_held(self, held: Mapping[Q, OpenedDek]) -> KeyBatch[Q]:
        """Return a batch of these answers and of keys that were open already."""
        return KeyBatch(self._answers, {**self._held, **held})

    def require_all(self) -> None:
        """Raise the first error, in the order of the questions, if there is one."""
        for question in self._answers:
            self[question]
