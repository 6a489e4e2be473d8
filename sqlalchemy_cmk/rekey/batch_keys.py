"""The DEKs of one batch of rows, opened side by side. See :class:`BatchKeys`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from typing import TypeVar

from sqlalchemy_cmk.errors import CmkError, CredentialError, KeyUnavailable
from sqlalchemy_cmk.keys.binding.engine_keys import EngineKeys
from sqlalchemy_cmk.keys.binding.held_keys import HeldKeys
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose
from sqlalchemy_cmk.keys.opening.key_batch import KeyBatch
from sqlalchemy_cmk.keys.opening.questions import ActiveDek, Question

T = TypeVar("T")


class BatchKeys(HeldKeys):
    """Holds the DEKs of a batch of rows, and remembers which of them cannot be reached until it is done with:
    a KEK that does not answer is asked once, and not for each value.

    Args:
        keys: the keys of the engine that the rows are in.
    """

    __slots__ = ("_unreached",)

    def __init__(self, keys: EngineKeys) -> None:
        super().__init__(keys)
        self._unreached: dict[Question, CmkError] = {}

    def dek(self, dek_id: bytes) -> OpenedDek | None:
        """Return an opened DEK by its id; see :meth:`Keyring.dek`."""
        return self._reached(dek_id, lambda: super(BatchKeys, self).dek(dek_id))

    def active(self, tenant: str, purpose: Purpose) -> OpenedDek:
        """Return the DEK that seals a tenant's new values; see :meth:`Keyring.active`."""
        return self._reached(
            ActiveDek(tenant, purpose), lambda: super(BatchKeys, self).active(tenant, purpose)
        )

    def open_all(self, questions: Iterable[Question]) -> KeyBatch[Question]:
        """Open DEKs side by side; what fails is raised where it is needed."""
        asked = list(questions)
        batch = super().open_all(asked)
        for one in asked:
            try:
                batch[one]
            except (KeyUnavailable, CredentialError) as error:
                self._unreached[one] = copy(error)
            except CmkError:
                pass
        return batch

    def let_go(self) -> None:
        """Hold nothing any more, and ask again for what could not be reached: the batch is done with."""
        super().let_go()
        self._unreached.clear()

    def _reached(self, question: Question, ask: Callable[[], T]) -> T:
        error = self._unreached.get(question)
        if error is not None:
            raise copy(error)
        return ask()
