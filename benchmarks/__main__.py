"""Measure everything, print it beside its bars, and write it as JSON."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.hsm import hsm
from benchmarks.keys import cold_start, memory
from benchmarks.rounds import rounds
from benchmarks.single import single
from benchmarks.tables import MODELS, Bench

RESULTS = Path("benchmarks/results.json")
ROUNDS = 15
PEER_ROUNDS = 7

BARS = {
    "load 10,000 ORM rows, 2 of 6 columns sealed": 1.30,
    "the same inside tenant_scope": 1.30,
    "insert 10,000 ORM rows with add_all and commit": 1.15,
    "open one short string": 1.5,
    "seal one short string": 1.5,
    "added time of a load, against the best peer's": 0.25,
    "added time of an insert, against the best peer's": 0.25,
    "cold start: provider calls": 1,
    "cold start: statements": 2,
    "bytes of an opened key": 2048,
    "kept at max_open_keys": 1,
    "unwrap in SoftHSM, against the bare calls": 1.3,
}


def orm(bench: Bench) -> dict[str, float]:
    plain, sealed = MODELS["plain text"], MODELS["sealed"]
    inserts = rounds({"plain": lambda: bench.insert(plain), "sealed": lambda: bench.insert(sealed)}, ROUNDS)
    loads = rounds(
        {
            "plain": lambda: bench.load(plain),
            "sealed": lambda: bench.load(sealed),
            "scoped": lambda: bench.load(sealed, "acme"),
        },
        2 * ROUNDS,
    )
    return {
        "load 10,000 ORM rows, 2 of 6 columns sealed": loads["sealed"] / loads["plain"],
        "the same inside tenant_scope": loads["scoped"] / loads["plain"],
        "insert 10,000 ORM rows with add_all and commit": inserts["sealed"] / inserts["plain"],
    }


def against_peers(bench: Bench) -> tuple[dict[str, float], dict[str, float]]:
    inserts = rounds({name: lambda m=m: bench.insert(m) for name, m in MODELS.items()}, PEER_ROUNDS)
    loads = rounds({name: lambda m=m: bench.load(m) for name, m in MODELS.items()}, PEER_ROUNDS)
    ratios, detail = {}, {}
    for kind, seconds in (("a load", loads), ("an insert", inserts)):
        added = {
            name: value - seconds["plain text"] for name, value in seconds.items() if name != "plain text"
        }
        ours = added.pop("sealed")
        ratios[f"added time of {kind}, against the best peer's"] = ours / min(added.values())
        detail.update({f"{kind}, {name}": value / seconds["plain text"] for name, value in seconds.items()})
    return ratios, detail


def main() -> None:
    bench = Bench()
    measured = orm(bench) | single(bench)
    peers, detail = against_peers(bench)
    in_token, threads = hsm()
    measured |= peers | cold_start() | memory() | in_token
    for name, bar in BARS.items():
        verdict = "" if measured[name] <= bar else "   over its bar"
        print(f"{name:55} {measured[name]:10.2f}   bar {bar:g}{verdict}")
    for name, ratio in detail.items():
        print(f"  {name:53} {ratio:10.2f} x plain text")
    for name, value in threads.items():
        print(f"  {name:53} {value:10.2f}")
    packages = ("sqlalchemy", "cryptography", "sqlalchemy-utils", "advanced-alchemy", "python-pkcs11")
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    document = {
        "versions": versions,
        "rounds": ROUNDS,
        "ratios": measured,
        "bars": BARS,
        "peers": detail,
        "hsm": threads,
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
