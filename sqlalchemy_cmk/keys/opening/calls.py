"""Calls providers on threads of the keyring's own, so many for each vault. See :class:`ProviderCalls`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy_cmk.errors import KeyUnavailable
from sqlalchemy_cmk.runtime.blocking import on_the_bridge, wait_for
from sqlalchemy_cmk.runtime.clock import elapsed
from sqlalchemy_cmk.runtime.threads import Threads

T = TypeVar("T")

# A vault of Azure throttles at about as many calls a second as eight threads make of it.
AT_ONCE = 8
PATIENCE = 10.0


class ProviderCalls:
    """Makes the calls of a keyring's providers.

    A vault that hangs takes its own threads and no other's: calls to other vaults go on, and so does the
    event loop. A caller that waits for a thread of a vault that has stopped answering does not wait long.

    Args:
        patience: seconds for which a call waits for a thread while no call of the same place is answered.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
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
            future = self._threads.submit(place, lambda: self._noted(place, call))
        except RuntimeError:
            # The process ends, or has too many threads. A loop must not be held up all the same.
            if on_the_bridge():
                raise KeyUnavailable("no thread can be started for the call of a KEK's provider") from None
            return call()
        try:
            while not wait_for(future, self._patience_left(place, asked)):
                if future.running():
                    wait_for(future)
                elif self._patience_left(place, asked) == 0 and future.cancel():
                    raise KeyUnavailable(
                        f"{place} has not answered for {self._patience:g} seconds, and {AT_ONCE} calls wait: "
                        "try again later"
                    )
        except BaseException:  # the caller was interrupted or cancelled: nobody needs the call
            future.cancel()
            raise
        try:
            return future.result()
        finally:
            del future  # an error's traceback holds this frame, which must not hold the error

    def under_way(self, place: str) -> int:
        """Return how many threads make calls of a place, or are ready to."""
        return self._threads.count(place)

    def close(self) -> None:
        """Let idle threads end."""
        self._threads.close()

    def _noted(self, place: str, call: Callable[[], T]) -> T:
        """Make the call, and note when the place has answered."""
        try:
            result = call()
        except KeyUnavailable:
            raise
        except Exception:
            self._answered[place] = elapsed()
            raise
        self._answered[place] = elapsed()
        return result

    def _patience_left(self, place: str, asked: float) -> float:
        since = max(asked, self._answered.get(place, asked))
        return max(0.0, since + self._patience - elapsed())
