"""Calls providers on threads of the keyring's own, so many for each vault. See :class:`ProviderCalls`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.keys.opening.flows import Call, Flow, Turn, done, failed
from sqlalchemy_cmk.keys.opening.side_by_side import SideBySide
from sqlalchemy_cmk.keys.opening.slots import Slots
from sqlalchemy_cmk.runtime.blocking import on_the_bridge, wait_for
from sqlalchemy_cmk.runtime.clock import elapsed
from sqlalchemy_cmk.runtime.threads import Threads

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

# A vault of Azure throttles at about as many calls a second as eight threads make of it.
AT_ONCE = 8
KEK_CONCURRENCY = 16
PATIENCE = 10.0


class ProviderCalls:
    """Makes the calls of a keyring's providers.

    A vault that hangs takes its own threads and no other's: calls to other vaults go on, and so does the
    event loop. A caller that waits for a thread of a vault that has stopped answering does not wait long.

    Args:
        at_once: how many calls the batches of this process make at once.
        patience: seconds for which a call waits for a thread while no call of the same place is answered.

    Attributes:
        of_place: how many calls of one place are made at once.
        slots: the calls that batches may make now.
    """

    of_place = AT_ONCE

    def __init__(self, at_once: int = KEK_CONCURRENCY, patience: float = PATIENCE) -> None:
        self.slots = Slots(at_once, AT_ONCE)
        self._patience = patience
        self._threads = Threads("cmk-kek", AT_ONCE)
        self._answered: dict[str, float] = {}

    def run(self, place: str, call: Callable[[], T]) -> T:
        """Return the result of a call.

        Args:
            place: what the call may hang on, from :meth:`KeyProvider.place_of`.
            call: makes it.

        Raises:
            KeyUnavailable: all threads of this place wait for answers, and none has come for a while.
        """
        asked = elapsed()
        try:
            future = self.submit(place, lambda: self.noted(place, call))
        except RuntimeError:
            return self.without_thread(call)
        try:
            while not wait_for(future, self.patience_left(place, asked)):
                if future.running():
                    wait_for(future)
                elif self.patience_left(place, asked) == 0 and future.cancel():
                    raise self.not_answering(place)
        except BaseException:  # the caller was interrupted or cancelled: nobody needs the call
            future.cancel()
            raise
        try:
            return future.result()
        finally:
            del future  # an error's traceback holds this frame, which must not hold the error

    def follow(self, flow: Flow[T]) -> T:
        """Return the result of a flow, whose calls are made one after the other."""
        answer: Any = None
        failed = False
        try:
            while True:
                try:
                    step = flow.throw(answer) if failed else flow.send(answer)
                except StopIteration as end:
                    result: T = end.value
                    return result
                try:
                    answer, failed = self._step(step), False
                except Exception as error:
                    answer, failed = error, True
        finally:
            del answer  # an error's traceback holds this frame, which must not hold the error

    def _step(self, step: Call | Turn) -> Any:
        if isinstance(step, Turn):
            step.pace.wait()
            return None
        return self.run(step.place, step.make)

    def follow_all(
        self,
        flows: Mapping[K, Flow[T]] | Iterable[tuple[K, Flow[T]]],
        landed: Callable[[K, Future[T]], None],
        lull: Callable[[], None] | None = None,
    ) -> None:
        """Follow flows side by side, within :attr:`slots` and what each provider says.

        Args:
            flows: the flows, each with a name; those of an iterator are asked for as others end.
            landed: is given the name and the result of each flow as soon as it has ended. It is called in the
                caller's thread, where the flows run too: only their calls are made elsewhere.
            lull: called there when no call has been answered for a moment.
        """
        if isinstance(flows, Mapping) and len(flows) < 2:
            for key, flow in flows.items():
                landed(key, self._followed(flow))
            return
        SideBySide(self, landed, lull).follow(flows.items() if isinstance(flows, Mapping) else flows)

    def results(self, flows: Mapping[K, Flow[T]]) -> dict[K, Future[T]]:
        """Return the results of flows that are followed side by side."""
        found: dict[K, Future[T]] = {}
        self.follow_all(flows, found.__setitem__)
        return found

    def _followed(self, flow: Flow[T]) -> Future[T]:
        try:
            return done(self.follow(flow))
        except Exception as error:
            return failed(error)

    def submit(self, place: str, work: Callable[[], T]) -> Future[T]:
        """Run work on one of a place's threads; raises as :meth:`Threads.submit` does."""
        return self._threads.submit(place, work)

    def without_thread(self, call: Callable[[], T]) -> T:
        """Make a call where no thread can be started: the process ends, or has too many of them.

        Raises:
            KeyUnavailable: an event loop would be held up.
        """
        if on_the_bridge():
            raise KeyUnavailable("no thread can be started for the call of a KEK's provider") from None
        return call()

    def under_way(self, place: str) -> int:
        """Return how many threads make calls of a place, or are about to."""
        return self._threads.count(place)

    def close(self) -> None:
        """Let idle threads end."""
        self._threads.close()

    def noted(self, place: str, call: Callable[[], T]) -> T:
        """Make a call, and note when the place has answered."""
        try:
            result = call()
        except KeyUnavailable:
            raise
        except Exception:
            self._answered[place] = elapsed()
            raise
        self._answered[place] = elapsed()
        return result

    def patience_left(self, place: str, asked: float) -> float:
        """Return for how many seconds a call that was asked for then still waits for a thread."""
        since = max(asked, self._answered.get(place, asked))
        return max(0.0, since + self._patience - elapsed())

    def not_answering(self, place: str) -> KeyUnavailable:
        """Return the error of a call that has found no thread."""
        return KeyUnavailable(
            f"{place} has not answered for {self._patience:g} seconds, and {AT_ONCE} calls wait: "
            "try again later"
        )
