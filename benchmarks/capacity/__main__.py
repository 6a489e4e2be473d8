"""Print the tables of docs/capacity.md and draw its figure."""

from pathlib import Path

from benchmarks.capacity.plot import plot
from benchmarks.capacity.report import Runs, bills, deploys, kinds, newcomers, outages

FIGURE = Path("docs/capacity.svg")


def main() -> None:
    runs = Runs.simulate()
    for table in (deploys(runs), outages(runs), newcomers(runs), kinds(), bills()):
        print(f"{table}\n")
    plot(runs, FIGURE)
    print(f"written to {FIGURE}")


if __name__ == "__main__":
    main()
