"""One unwrap in a token, against the bare calls of python-pkcs11; and what one thread at a time costs."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from benchmarks.tables import Database
from benchmarks.timing import Contestant, Rounds, repeated, timed
from sqlalchemy_cmk.providers import Pkcs11KeyProvider
from sqlalchemy_cmk.runtime.secret import Secret
from tests.support.hsm import PIN, TokenSoftwareMissing
from tests.support.hsm.softhsm import SoftHsm

READABLE = {Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False}
TIMES = 500
THREADS = 64
TOKENS = [f"bench-{number}" for number in range(8)]


class Tokens:
    """Eight tokens of SoftHSM with a KEK each, in a new folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.hsm = SoftHsm(folder, TOKENS)
        self.provider = Pkcs11KeyProvider(
            self.hsm.module, pin=lambda label: PIN, profile="softhsm", make_keys=True
        )
        self.uris = [self.hsm.uri(label, "kek") for label in TOKENS]
        for uri in self.uris:
            self.provider.ensure(uri)
        self.wrapped = [self.provider.wrap(uri, Secret(os.urandom(32))) for uri in self.uris]

    def bare(self) -> Contestant:
        """Return a contestant: ``C_UnwrapKey`` and ``C_GetAttributeValue`` with a session and a key at hand.

        What it leaves in the token is destroyed when the time is taken: many objects make a token slow.
        """
        token = next(one for one in pkcs11.lib(self.hsm.module).get_tokens() if one.label == TOKENS[0])
        key = next(iter(list(token.open().get_objects({Attribute.LABEL: "kek"}))))
        data, secret, generic = self.wrapped[0].data, ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET
        expected = self.provider.unwrap(self.wrapped[0]).reveal()
        made: list[Any] = []

        def unwrap() -> bytes:
            one = key.unwrap_key(secret, generic, data, mechanism=Mechanism.AES_KEY_WRAP, template=READABLE)
            made.append(one)
            return one[Attribute.VALUE]

        def run() -> float:
            seconds, values = timed(lambda: [unwrap() for _ in range(TIMES)])
            assert set(values) == {expected}
            for one in made:
                one.destroy()
            made.clear()
            return seconds

        return run

    def in_threads(self, threads: int, times: int) -> list[float]:
        """Return the seconds of each unwrap of several threads, sorted; each asks the tokens in turn."""

        def work(number: int) -> list[float]:
            seconds = []
            for turn in range(times):
                start = time.perf_counter()
                self.provider.unwrap(self.wrapped[(number + turn) % len(TOKENS)])
                seconds.append(time.perf_counter() - start)
            return seconds

        with ThreadPoolExecutor(threads) as pool:
            return sorted(one for each in pool.map(work, range(threads)) for one in each)


def hsm(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return the ratio of an unwrap to the bare calls, and what 64 threads see of each other."""
    try:
        tokens = Tokens(database.folder / "hsm")
    except TokenSoftwareMissing as missing:
        print(f"  {missing}")
        return {}
    wrapped = tokens.wrapped[0]
    ours = repeated(lambda: tokens.provider.unwrap(wrapped), TIMES)
    seconds = Rounds({"bare": tokens.bare(), "ours": ours}, rounds)
    alone = tokens.in_threads(1, 2000)
    start = time.perf_counter()
    crowd = tokens.in_threads(THREADS, 100)
    elapsed = time.perf_counter() - start
    return {
        "unwrap in SoftHSM, against the bare calls": seconds.ratio("ours", "bare"),
        "unwraps a second, one thread": len(alone) / sum(alone),
        "unwraps a second, 64 threads": len(crowd) / elapsed,
        "one unwrap alone, median ms": 1000 * median(alone),
        "one unwrap among 64 threads, median ms": 1000 * median(crowd),
        "one unwrap among 64 threads, 99th percentile ms": 1000 * crowd[len(crowd) * 99 // 100],
    }
