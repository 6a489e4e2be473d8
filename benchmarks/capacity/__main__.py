"""Print the tables of docs/capacity.md and draw its figures."""

from pathlib import Path

from benchmarks.capacity.plot import plot, plot_fleet
from benchmarks.capacity.report import Runs, bills, deploys, kinds, newcomers, outages, skewed

FIGURE, FLEET = Path("docs/capacity.svg"), Path("docs/capacity-fleet.svg")


def main() -> None:
    runs = Runs.simulate()
    for table in (deploys(runs), outages(runs), newcomers(runs), kinds(), bills(), skewed(runs)):
        print(f"{table}\n")
    plot(runs, FIGURE)
    plot_fleet(runs, FLEET)
    print(f"written to {FIGURE} and {FLEET}")


if __name__ == "__main__":
    main()
