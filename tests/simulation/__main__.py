"""`make simulate`: runs seeds, prints the steps of those that fail, and says how many did."""

from __future__ import annotations

import argparse
import sys
import time

import pytest

from tests.simulation.old_faults import FAULTS
from tests.simulation.runner import Failed, databases_of, run_seed, shown


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite", help="the real one")
    parser.add_argument("--trace", action="store_true", help="print the steps of those that hold, too")
    parser.add_argument("--tail", type=int, default=0, help="print only so many last steps of one that fails")
    parser.add_argument(
        "--put-back", choices=sorted(FAULTS), help="a fault: ends with the seed that finds it"
    )
    options = parser.parse_args()
    failed, began, seeds = [], time.monotonic(), range(options.start, options.start + options.seeds)
    with databases_of(options.database) as databases, pytest.MonkeyPatch.context() as patch:
        if options.put_back:
            FAULTS[options.put_back](patch)
        for seed in seeds:
            try:
                trace = run_seed(seed, databases)
            except Failed as error:
                failed.append(seed)
                print(f"seed {seed}: {error.__cause__!r}")
                print(shown(error.trace[-options.tail :]), flush=True)
                if options.put_back:
                    break
                continue
            if options.trace:
                print(shown(trace))
    done, seconds = seed - options.start + 1, time.monotonic() - began
    print(f"{done} seeds in {seconds:.1f} s, {len(failed)} failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
