"""Run a soak on a private PostgreSQL and print its figures: ``python -m benchmarks.soak --help``."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.drill.setting import Times
from benchmarks.soak.figures import figures
from benchmarks.soak.soak import Scale, Soak
from benchmarks.soak.verdict import Bounds, problems
from tests.support.databases import Servers, server_database


def main() -> int:
    """Return the status to exit with: 1 where something is out of bounds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=Scale.seconds)
    parser.add_argument("--tenants", type=int, default=Scale.tenants)
    parser.add_argument("--each", type=int, default=Scale.each, help="revoked, unreachable, slow in a round")
    parser.add_argument("--workers", type=int, default=Scale.workers, help="of each server")
    parser.add_argument("--threads", type=int, default=Scale.threads, help="of each server's clients")
    parser.add_argument("--pause", type=float, default=Scale.pause, help="between two requests of a thread")
    parser.add_argument("--drivers", nargs="*", default=Scale.drivers, choices=("asyncpg", "psycopg"))
    parser.add_argument("--revalidate-after", type=float, default=30.0)
    parser.add_argument("--retry-after", type=float, default=3.0)
    chosen = vars(parser.parse_args())
    times = Times(chosen.pop("revalidate_after"), chosen.pop("retry_after"))
    scale = Scale(**{**chosen, "drivers": tuple(chosen["drivers"])}, times=times)
    servers, bounds = Servers(), Bounds()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="cmk-soak-") as folder,
            server_database("postgresql", servers.url("postgresql")) as database,
        ):
            outcome = Soak(scale, database.url, Path(folder)).run()
    finally:
        servers.close()
    print(figures(outcome, bounds))
    return 1 if problems(outcome, bounds) else 0


if __name__ == "__main__":
    sys.exit(main())
