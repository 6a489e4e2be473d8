"""`make simulate`: runs seeds, prints the steps of those that fail, and says how many did."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.runner import Failed, run_seed, shown, sqlite_files


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--trace", action="store_true", help="print the steps of those that hold, too")
    parser.add_argument("--tail", type=int, default=0, help="print only so many last steps of one that fails")
    options = parser.parse_args()
    failed, began = [], time.monotonic()
    with sqlite_files() as databases:
        for seed in range(options.start, options.start + options.seeds):
            try:
                trace = run_seed(seed, databases)
            except Failed as error:
                failed.append(seed)
                print(f"seed {seed}: {error.__cause__!r}")
                print(shown(error.trace[-options.tail :]))
                continue
            if options.trace:
                print(shown(trace))
    print(f"{options.seeds} seeds in {time.monotonic() - began:.1f} s, {len(failed)} failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
