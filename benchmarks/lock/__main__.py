"""Lock a tenant on a private PostgreSQL and print the figures: ``python -m benchmarks.lock --help``."""

import argparse
import tempfile
from pathlib import Path

from benchmarks.lock.drill import LockDrill, Scale
from tests.support.databases import Servers, server_database


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lock", description=__doc__)
    parser.add_argument("--tenants", type=int, default=Scale.tenants)
    parser.add_argument("--workers", type=int, default=Scale.workers)
    parser.add_argument("--threads", type=int, default=Scale.threads, help="threads of each worker")
    parser.add_argument("--connections", type=int, default=Scale.connections, help="to each worker")
    parser.add_argument("--pause", type=float, default=Scale.pause, help="seconds between two requests")
    parser.add_argument("--rows", type=int, default=Scale.rows, help="rows to re-encrypt")
    parser.add_argument("--rate", type=float, default=Scale.rate, help="of these, in a second")
    parser.add_argument("--lasting", type=float, default=Scale.lasting, help="seconds of each part")
    parser.add_argument("--notify", action="store_true", help="lock_notify=True")
    scale = Scale(**vars(parser.parse_args()))
    servers = Servers()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="cmk-lock-") as folder,
            server_database("postgresql", servers.url("postgresql")) as database,
        ):
            print(LockDrill(scale, database.url, Path(folder)).run().figures())
    finally:
        servers.close()


if __name__ == "__main__":
    main()
