"""Measure what many tenants cost, beside its targets: ``python -m benchmarks.tenants [NAME ...]``.

Every module of this package that has a list ``BENCHMARKS`` is run, by its own name.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryDirectory

import benchmarks.tenants
from benchmarks.targets import judged, met
from benchmarks.tenants.figure import Benchmark, Setting

RESULTS = Path("benchmarks/tenants.json")


def subjects() -> dict[str, list[Benchmark]]:
    """Return the benchmarks of each module that has some."""
    names = [one.name for one in iter_modules(benchmarks.tenants.__path__) if not one.name.startswith("_")]
    found = {name: getattr(import_module(f"benchmarks.tenants.{name}"), "BENCHMARKS", []) for name in names}
    return {name: listed for name, listed in found.items() if listed}


def main(arguments: Sequence[str] | None = None) -> int:
    every = subjects()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tenants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(every)}; all of them")
    parser.add_argument("--tenants", type=int, default=Setting.tenants, help=f"{Setting.tenants}")
    parser.add_argument("--rounds", type=int, default=Setting.rounds, help=f"{Setting.rounds}")
    parser.add_argument("--seconds", type=float, default=Setting.seconds, help=f"{Setting.seconds:g}")
    parser.add_argument("--strict", action="store_true", help="fail where a target is missed")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(every)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    figures = []
    for name in options.names or every:
        print(name, flush=True)
        for benchmark in every[name]:
            with TemporaryDirectory(prefix="cmk-bench-") as folder:
                setting = Setting(Path(folder), options.tenants, options.rounds, options.seconds)
                for figure in benchmark(setting):
                    print(judged(figure.work, figure.measured, figure.target), flush=True)
                    figures.append(figure)
    document = [{"work": one.work, "measured": one.measured, "target": one.target} for one in figures]
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    missed = [one for one in figures if one.target is not None and not met(one.measured, one.target)]
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    # On SQLite, key events wait while tables are read, and warn of it.
    logging.getLogger("sqlalchemy_cmk").setLevel(logging.ERROR)
    raise SystemExit(main())
