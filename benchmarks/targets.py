"""The targets of every benchmark: none of the measured figures may be higher."""

# Ratios of times without a unit. "added" is the time that sealing adds, for each opened value.
TARGETS: dict[str, dict[str, float]] = {
    "reading": {
        "ORM load, platform table: added, against a bare decrypt": 1.5,
        "ORM load, 50 tenants: added, against a bare decrypt": 1.7,
        "Core load, platform table: added, against a bare decrypt": 1.5,
        "Core load, 50 tenants: added, against a bare decrypt": 1.7,
        "ORM load, platform table, against plain text": 1.40,
        "ORM load, 50 tenants, against plain text": 1.48,
        "ORM load, 500 tenants, against plain text": 1.7,
        "Core load, platform table, against plain text": 2.0,
        "Core load, 50 tenants, against plain text": 2.2,
        "Core load, 500 tenants, against plain text": 2.5,
    },
    "wide": {"ORM load, 10 of 10 columns sealed, against plain text": 2.1},
    "one": {"session.get of one row, against plain text": 1.15},
    "row-bound": {"ORM load, row-bound columns, against those that are not": 1.1},
    "raw-sql": {
        "load by a wrapped cursor, against Core": 1.3,
        "load by text(), against Core": 1.3,
        "a known statement, microseconds": 10,
        "pandas.read_sql, against plain text": 2.5,
    },
    "writing": {
        "add_all and commit, against plain text": 1.12,
        "bulk insert(Model), rows, against plain text": 1.7,
    },
    "peers": {"ORM load: time added, against the best peer's": 0.20},
    "keys": {
        "cold start of one tenant: provider calls": 1,
        "cold start of one tenant: statements": 2,
        "memory of an opened key, bytes": 2048,
    },
    "hsm": {"unwrap in SoftHSM, against the bare calls": 1.3},
    "rekey": {
        "re-encrypt, one process": 2.0,
        "re-encrypt, two processes": 1.5,
        "re-encrypt, five columns": 2.5,
        "re-encrypt, five columns, two processes": 2.5,
        "encrypt a plaintext column": 2.0,
    },
    "rekey_memory": {"memory above the start, MiB": 60},
    "rekey_writes": {"p99 of writes during a run, against that without one": 1.5, "writes that failed": 0},
    # In microseconds a value.
    "tokens": {
        "Exact": 1,
        "Prefix, 2 to 12 characters": 10,
        "NGram, 3 characters, kept": 3,
        "Range, arity 4, 28 bits": 8,
    },
    # By the words that a figure begins with. The connections that the keyring keeps may be opened late.
    "asyncio_keys": {"a cold key": 1.5, "memory grown": 3, "sessions opened": 5},
}


def judged(name: str, figure: float | None, target: float | None) -> str:
    """Return a figure's line: its value, its target, and whether it passes."""
    value = "not measured" if figure is None else f"{figure:,.2f}"
    verdict = ""
    if target is not None:
        verdict = f"   target {target:<8,g}" + ("PASS" if met(figure, target) else "MISS")
    return f"  {name:60}{value:>12}{verdict}"


def met(figure: float | None, target: float) -> bool:
    """Return whether a figure was measured and is no higher than its target."""
    return figure is not None and figure <= target
