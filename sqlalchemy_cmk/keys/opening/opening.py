"""One opening of DEKs: they are loaded together, proven side by side, and made where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy_cmk.errors import CmkError, KeyRevoked, KeyUnavailable
from sqlalchemy_cmk.keys.model import OpenedDek, Purpose, TenantState
from sqlalchemy_cmk.keys.opening.flows import done, failed
from sqlalchemy_cmk.keys.opening.making import Wish
from sqlalchemy_cmk.keys.opening.prover import Stored
from sqlalchemy_cmk.keys.opening.questions import ActiveDek, Question
from sqlalchemy_cmk.keys.opening.single_flight import Land
from sqlalchemy_cmk.keys.records import DekRecord, TenantKeys

if TYPE_CHECKING:
    from sqlalchemy_cmk.keys.opening.opener import Opener

Loaded = TenantKeys | CmkError | None


class Opening:
    """Opens the DEKs that one caller asks for and nobody else is opening now.

    Args:
        opener: whose store, cache, prover and maker are used.
        questions: which DEKs.
        land: is given each question with its answer as soon as that is known.
    """

    def __init__(self, opener: Opener, questions: Iterable[Question], land: Land[Question]) -> None:
        self._opener = opener
        self._land = land
        self._left: dict[Question, _Asked] = {one: _Asked(opener.stale(one)) for one in questions}
        self._proving: dict[bytes, Stored] = {}
        self._askers: dict[bytes, list[Question]] = {}
        self._wishes: list[Wish] = []

    def __enter__(self) -> Self:
        for asked in self._left.values():
            asked.keep(self._opener)
        return self

    def __exit__(self, *_: object) -> None:
        for asked in self._left.values():
            asked.stack.close()
        self._left.clear()

    def open(self) -> None:
        """Open them."""
        ids = [one for one in self._left if isinstance(one, bytes)]
        active = [one for one in self._left if isinstance(one, ActiveDek)]
        for questions, load in (
            (ids, self._load_by_id),
            ([one for one in active if one.seals], self._load_sealing),
            ([one for one in active if not one.seals], self._load_comparing),
        ):
            if questions:
                self._load(questions, load)
        if self._proving:
            self._opener.prover.prove_all(self._proving, self._proven)
        if self._wishes:
            self._opener.maker.make_all(self._wishes, self._made)

    def _load(self, questions: list[Any], load: Callable[[list[Any]], Mapping[Any, Loaded]]) -> None:
        try:
            loaded = load(questions)
        except KeyUnavailable as error:
            for one in questions:
                self._settle(one, failed(error))
            return
        for one in questions:
            self._plan(one, loaded[one])

    def _load_by_id(self, ids: list[bytes]) -> Mapping[bytes, Loaded]:
        return self._opener.store.keys_with_all(ids)

    def _load_sealing(self, questions: list[ActiveDek]) -> Mapping[ActiveDek, Loaded]:
        wanted: dict[str, list[Purpose]] = {}
        for one in questions:
            wanted.setdefault(one.tenant, []).append(one.purpose)
        noted = self._opener.maker.longest_use.noted(wanted)
        return {one: noted[one.tenant] for one in questions}

    def _load_comparing(self, questions: list[ActiveDek]) -> Mapping[ActiveDek, Loaded]:
        try:
            found = self._load_sealing(questions)
        except KeyUnavailable:
            found = dict.fromkeys(questions, KeyUnavailable())
        unnoted = [one for one in questions if isinstance(found[one], KeyUnavailable)]
        if not unnoted:
            return found
        stored = self._opener.store.keys_of_all({one.tenant for one in unnoted})
        return {**found, **{one: stored[one.tenant] for one in unnoted}}

    def _plan(self, question: Question, keys: Loaded) -> None:
        """Decide what is done for a question whose keys are loaded."""
        asked = self._left[question]
        if isinstance(keys, CmkError):
            self._settle(question, failed(keys))
            return
        record: DekRecord | None = None
        if keys is not None:
            asked.keys = keys
            record = keys.dek(question) if isinstance(question, bytes) else keys.active(question.purpose)
        if keys is not None and record is not None:
            if isinstance(question, ActiveDek):
                # Reading may have opened it, before it was used to seal.
                asked.keep_too(self._opener, self._opener.opened.stale(record.id))
            self._proving[record.id] = keys, record
            self._askers.setdefault(record.id, []).append(question)
        elif isinstance(question, bytes):
            self._settle(question, done(None))
        elif question.seals:
            self._wishes.append((question.tenant, question.purpose))
        elif keys is not None and keys.tenant.state is TenantState.SHREDDED:
            tenant = question.tenant
            gone = KeyRevoked(f"tenant {tenant!r} was shredded: it has no values any more", tenant)
            self._settle(question, failed(gone))
        else:
            self._settle(question, done(None))

    def _proven(self, dek_id: bytes, result: Future[OpenedDek]) -> None:
        for question in self._askers[dek_id]:
            self._settle(question, result)

    def _made(self, wish: Wish, result: Future[OpenedDek]) -> None:
        self._settle(ActiveDek(*wish), result)

    def _settle(self, question: Question, result: Future[Any]) -> None:
        """Give a question's answer; a DEK whose KEK cannot be reached may be ridden out with."""
        asked = self._left.pop(question)
        try:
            error = result.exception()
            if isinstance(error, KeyUnavailable):
                ridden_out = (self._opener.within_grace(one, error) for one in asked.stale)
                result = next((done(one) for one in ridden_out if one is not None), result)
            error = result.exception()
            self._opener.revocations.note(question, error)
            dek = None if error is not None else result.result()
            if dek is not None and isinstance(question, ActiveDek) and self._may_seal(question, asked):
                self._opener.opened.activate(dek)
        finally:
            del error
            asked.stack.close()
        self._land(question, result)

    def _may_seal(self, question: ActiveDek, asked: _Asked) -> bool:
        return question.seals or self._opener.maker.longest_use.is_noted(asked.keys, question.purpose)


class _Asked:
    """What is known of a question that is being answered.

    Attributes:
        stale: opened DEKs that may serve while the KEK cannot be reached, the better first.
        keys: the tenant's keys, once they are loaded.
        stack: keeps the opened DEKs in memory meanwhile.
    """

    def __init__(self, stale: OpenedDek | None) -> None:
        self.stale = [] if stale is None else [stale]
        self.keys: TenantKeys | None = None
        self.stack = ExitStack()

    def keep(self, opener: Opener) -> None:
        for one in self.stale:
            self.stack.enter_context(opener.opened.in_question(one))

    def keep_too(self, opener: Opener, stale: OpenedDek | None) -> None:
        if stale is not None and stale not in self.stale:
            self.stale.insert(0, stale)
            self.stack.enter_context(opener.opened.in_question(stale))
