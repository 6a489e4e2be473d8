"""Measure everything and print it beside its target: ``python -m benchmarks [NAME ...] [--quick]``."""

import argparse
import json
import logging
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.hsm import hsm
from benchmarks.keys import keys
from benchmarks.one import one
from benchmarks.peers import peers
from benchmarks.raw_sql import raw_sql
from benchmarks.reading import reading
from benchmarks.row_bound import row_bound
from benchmarks.tables import Database
from benchmarks.targets import TARGETS, judged, met
from benchmarks.wide import wide
from benchmarks.writing import writing

RESULTS = Path("benchmarks/results.json")
ROUNDS, QUICK_ROUNDS = 31, 5

BENCHMARKS: dict[str, Callable[[Database, int, int], dict[str, float]]] = {
    "reading": reading,
    "wide": wide,
    "one": one,
    "row-bound": row_bound,
    "raw-sql": raw_sql,
    "writing": writing,
    "peers": peers,
    "keys": keys,
    "hsm": hsm,
}
PACKAGES = (
    "sqlalchemy",
    "cryptography",
    "sqlalchemy-utils",
    "advanced-alchemy",
    "sealed-fields",
    "sqlalchemy-encrypted-field",
    "pydantic-encryption",
    "python-pkcs11",
)


def run(names: Sequence[str], count: int, rounds: int) -> tuple[dict[str, dict[str, Any]], bool]:
    """Run benchmarks and print their figures.

    Returns:
        The figures with their targets, by benchmark; and whether every target was measured and met.
    """
    results, passed = {}, True
    database = Database()
    try:
        for name in names:
            print(name, flush=True)
            measured, targets = BENCHMARKS[name](database, count, rounds), TARGETS[name]
            results[name] = {
                figure: {"measured": measured.get(figure), "target": targets.get(figure)}
                for figure in dict.fromkeys([*measured, *targets])
            }
            for figure, value in results[name].items():
                print(judged(figure, value["measured"], value["target"]), flush=True)
            passed &= all(met(measured.get(figure), target) for figure, target in targets.items())
    finally:
        database.close()
    return results, passed


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all of them")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, not {ROUNDS}")
    parser.add_argument("--strict", action="store_true", help="fail where a target is missed")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a table; 10,000")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    results, passed = run(options.names or list(BENCHMARKS), options.rows, rounds)
    document = {"versions": versions(), "rows": options.rows, "rounds": rounds, "results": results}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {RESULTS}")
    return 1 if options.strict and not passed else 0


if __name__ == "__main__":
    # On SQLite, key events wait while tables are read, and warn of it.
    logging.getLogger("sqlalchemy_cmk").setLevel(logging.ERROR)
    raise SystemExit(main())
