"""Run a drill on a private PostgreSQL and print its figures: ``python -m benchmarks.drill --help``."""

import argparse
import tempfile
from pathlib import Path

from benchmarks.drill.drill import Drill, Scale
from benchmarks.drill.figures import figures
from benchmarks.drill.setting import Times
from tests.support.databases import Servers, server_database


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drill", description=__doc__)
    parser.add_argument("--tenants", type=int, default=Scale.tenants)
    parser.add_argument("--each", type=int, default=Scale.each, help="how many are revoked, cut off, ...")
    parser.add_argument("--workers", type=int, default=Scale.workers)
    parser.add_argument("--threads", type=int, default=Scale.threads, help="threads of each worker")
    parser.add_argument("--connections", type=int, default=Scale.connections, help="to each worker")
    parser.add_argument("--pause", type=float, default=Scale.pause, help="seconds between two requests")
    parser.add_argument("--lasting", type=float, default=20.0, help="seconds for which it goes on")
    parser.add_argument("--spread", type=float, default=10.0, help="seconds within which tenants are revoked")
    parser.add_argument("--revalidate-after", type=float, default=Times.revalidate_after)
    parser.add_argument("--retry-after", type=float, default=Times.retry_after)
    chosen = vars(parser.parse_args())
    times = Times(chosen.pop("revalidate_after"), chosen.pop("retry_after"))
    servers = Servers()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="cmk-drill-") as folder,
            server_database("postgresql", servers.url("postgresql")) as database,
        ):
            print(figures(Drill(Scale(**chosen, times=times), database.url, Path(folder)).run()))
    finally:
        servers.close()


if __name__ == "__main__":
    main()
