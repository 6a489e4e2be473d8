"""64 threads on 8 tokens, a fork in the middle, a restart of the module in the middle.

The seconds are those of CMK_TEST_STRESS_SECONDS: `make stress` takes a minute, other runs a few.
"""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from sqlalchemy_cmk.providers import Pkcs11KeyProvider, Wrapped
from sqlalchemy_cmk.providers.pkcs11.module import module_at
from sqlalchemy_cmk.runtime.secret import Secret
from tests.keys.processes import in_fork
from tests.support.hsm import PIN
from tests.support.hsm.boundary import Counted
from tests.support.hsm.softhsm import SoftHsm

SECONDS = float(os.environ.get("CMK_TEST_STRESS_SECONDS", "6"))
TOKENS = [f"stress-{number}" for number in range(8)]
THREADS = 64


class Work:
    """DEKs under KEKs in every token, wrapped and unwrapped until the time is up."""

    def __init__(self, softhsm: SoftHsm) -> None:
        self.provider = Pkcs11KeyProvider(
            softhsm.module, pin=lambda label: PIN, profile="softhsm", make_keys=True
        )
        self.uris = [softhsm.uri(label, f"kek-{os.urandom(6).hex()}") for label in TOKENS]
        self.known: list[tuple[Secret, Wrapped]] = []
        for uri in self.uris:
            self.provider.ensure(uri)
            dek = Secret(os.urandom(32))
            self.known.append((dek, self.provider.wrap(uri, dek)))

    def go_on(self, number: int, until: float) -> int:
        """Wrap and unwrap; return how often, or fail with the first wrong answer."""
        done = 0
        while time.monotonic() < until or done < 3:
            dek, wrapped = self.known[(number + done) % len(self.known)]
            assert self.provider.unwrap(wrapped) == dek
            if done % 5 == 0:
                fresh = Secret(os.urandom(32))
                again = self.provider.wrap(self.uris[number % len(self.uris)], fresh)
                assert self.provider.unwrap(again) == fresh
            done += 1
        return done

    def in_threads(self, threads: int, seconds: float) -> int:
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(lambda number: self.go_on(number, until), range(threads)))


@pytest.fixture
def work(softhsm: SoftHsm) -> Iterator[Work]:
    work = Work(softhsm)
    yield work
    work.provider.close()


@pytest.mark.timeout(max(600, 6 * SECONDS))
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning")
def test_64_threads_on_8_tokens_outlive_a_fork_and_a_restart(work: Work, softhsm: SoftHsm) -> None:
    module = module_at(softhsm.module)
    counted, children = Counted(), []
    work.provider.close()

    def restart() -> None:
        with module.exclusive() as library:
            library.reinitialize()

    def child() -> bool:
        done = work.in_threads(8, SECONDS / 4)
        few = len(counted.sessions) <= len(TOKENS)
        work.provider.close()
        return done >= 24 and few and counted.sessions == set() and counted.objects == 0

    with counted.watching(softhsm.module):
        timers = [
            threading.Timer(SECONDS / 3, lambda: children.append(in_fork(child))),
            threading.Timer(SECONDS / 2, restart),
        ]
        for timer in timers:
            timer.start()
        done = work.in_threads(THREADS, SECONDS)
        for timer in timers:
            timer.join()
        assert children == [True] and done >= 3 * THREADS
        assert len(counted.sessions) <= len(TOKENS)
        assert counted.objects == 0 and counted.most_inside == 1
        work.provider.close()
        assert counted.sessions == set()
    print(f"{done} rounds of {THREADS} threads in {SECONDS:g} s")
