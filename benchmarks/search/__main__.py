"""Measure search indexes beside their targets: ``python -m benchmarks.search``."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.search.asking import answers
from benchmarks.search.building import building
from benchmarks.search.people import people
from benchmarks.search.sizes import sizes
from benchmarks.search.twins import Twins
from benchmarks.search.writing import writing
from benchmarks.targets import judged, met
from benchmarks.tenants.figure import Figure
from tests.support.databases import Servers, server_database, sqlite_file

RESULTS = Path("benchmarks/search.json")
# Questions to each database, and how many rows its tables have by default.
TARGETS: dict[str, dict[str, float]] = {
    "postgresql": {
        "equality, 1 result": 1.2,
        "equality, 100 results": 1.2,
        "prefix, about 100 results": 1.3,
        "range, about 100 results": 1.5,
        "range, a third of the table, LIMIT 100": 2.5,
        "substring, rechecked": 1.0,
    },
    "mariadb": {
        "equality, 1 result": 1.3,
        "equality, 100 results": 1.3,
        "prefix, about 100 results": 1.3,
        "range, about 100 results": 2.0,
    },
    "sqlite": {"range, about 100 results": 5.0, "substring, rechecked": 1.6},
}
ROWS = {"postgresql": 1_000_000, "mariadb": 200_000, "sqlite": 200_000}
WRITTEN, BUILT = 20_000, 100_000


def measured(url: str, kind: str, folder: Path, rows: int, rounds: int) -> Iterator[Figure]:
    """Yield the figures of one database."""
    persons = list(people(rows))
    twins = Twins(url, folder)
    try:
        twins.fill(persons)
        yield from answers(twins, persons, rounds, TARGETS[kind])
        yield from sizes(twins)
    finally:
        twins.close()
    yield from writing(url, folder, persons[:WRITTEN], rounds)
    yield from building(url, folder, persons[:BUILT])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("databases", nargs="*", choices=[[], *TARGETS], help="all of them")
    parser.add_argument("--rows", type=int, help="of each table; a million on PostgreSQL, 200,000 elsewhere")
    parser.add_argument("--rounds", type=int, default=9, help="9")
    parser.add_argument("--strict", action="store_true", help="fail where a target is missed")
    options = parser.parse_args(arguments)
    servers, figures = Servers(), []
    try:
        for kind in options.databases or TARGETS:
            rows = options.rows or ROWS[kind]
            print(f"{kind}, {rows:,} rows", flush=True)
            with TemporaryDirectory(prefix="cmk-bench-") as folder:
                for one in _of_database(kind, servers, Path(folder), rows, options.rounds):
                    print(judged(one.work, one.measured, one.target), flush=True)
                    figures.append(one)
    finally:
        servers.close()
    document = [{"work": one.work, "measured": one.measured, "target": one.target} for one in figures]
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    missed = [one for one in figures if one.target is not None and not met(one.measured, one.target)]
    return 1 if options.strict and missed else 0


def _of_database(kind: str, servers: Servers, folder: Path, rows: int, rounds: int) -> Iterator[Figure]:
    if kind == "sqlite":
        yield from measured(sqlite_file(folder).url, kind, folder, rows, rounds)
        return
    with server_database(kind, servers.url(kind)) as database:
        yield from measured(database.url, kind, folder, rows, rounds)


if __name__ == "__main__":
    raise SystemExit(main())
