"""A method is called when it is due, by the clock that was given, and never keeps its object alive."""

import gc
import threading
import weakref

import pytest

from sqlalchemy_cmk.runtime.alarm import Alarm
from tests.support.waiting import until


class Bell:
    def __init__(self, longest: float = 0.02) -> None:
        self.again: float | None = None
        self.rung: list[float] = []
        now = [0.0]
        self.clock = now
        self.alarm = Alarm(self.ring, lambda: now[0], longest)

    def ring(self) -> float | None:
        self.rung.append(self.clock[0])
        return self.again


_others: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def without_others() -> None:
    """Leave out the threads that other tests have left in this process."""
    _others.clear()
    _others.update(threading.enumerate())


def waiting() -> int:
    return sum(one.name == "cmk-alarm" and one not in _others for one in threading.enumerate())


def test_a_clock_that_jumps_is_noticed() -> None:
    bell = Bell()
    bell.again = 8 * 3600
    bell.alarm.set(8 * 3600)
    bell.clock[0] = 8 * 3600
    until(lambda: 8 * 3600 in bell.rung)
    bell.again = None
    until(lambda: waiting() == 0)


def test_the_earlier_of_two_moments_counts() -> None:
    bell = Bell(longest=3600)
    bell.alarm.set(3600)
    bell.alarm.set(0.05)
    bell.clock[0] = 1
    bell.alarm.set(0.01)  # of real time too: its thread is woken
    until(lambda: len(bell.rung) > 0)
    bell.alarm.close()


def test_what_is_closed_can_be_set_again() -> None:
    bell = Bell(longest=3600)
    bell.alarm.set(3600)
    bell.alarm.close()
    until(lambda: waiting() == 0)
    bell.clock[0] = 3600
    bell.alarm.set(3600)
    until(lambda: bell.rung == [3600])


def test_its_thread_ends_with_its_object() -> None:
    bell = Bell(longest=3600)
    bell.alarm.set(3600)
    seen = weakref.ref(bell)
    del bell
    until(lambda: seen() is None and waiting() == 0)


def test_its_thread_ends_with_an_object_that_goes_at_once() -> None:
    """The thread may be anywhere between its start and its wait."""
    for _ in range(300):
        Bell(longest=3600).alarm.set(3600)
    until(lambda: waiting() == 0)


def test_an_object_that_goes_waits_for_no_lock_that_a_stopped_thread_has_left() -> None:
    """At the end of a process its daemon threads stop where they are."""
    bell = Bell(longest=0.05)
    bell.alarm.set(3600)
    state = bell.alarm._state
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with state.lock:
            held.set()
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    box = [bell]
    del bell
    going = threading.Thread(target=lambda: (box.clear(), gc.collect()), daemon=True)
    going.start()
    going.join(30)
    stuck = going.is_alive()
    release.set()
    assert not stuck
    holder.join()
    until(lambda: waiting() == 0)


def test_closing_waits_for_a_call_that_is_under_way_unless_it_is_the_call_that_closes() -> None:
    class Slow(Bell):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.end = threading.Event(), threading.Event()
            self.closes = False

        def ring(self) -> float | None:
            self.begun.set()
            if self.closes:
                self.alarm.close(3600)
            elif self.end.wait(30):
                self.rung.append(0.0)
            return None

    slow = Slow()
    slow.alarm.set(0)
    assert slow.begun.wait(30)
    slow.alarm.close(0.01)
    assert slow.rung == []
    threading.Timer(0.2, slow.end.set).start()
    slow.alarm.close(30)
    assert slow.rung == [0.0]
    slow.closes = True
    slow.alarm.set(0)
    until(lambda: waiting() == 0)
