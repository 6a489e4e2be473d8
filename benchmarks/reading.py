"""Loading a whole table, two of its six columns sealed, against the same table in plain text."""

import os
from collections.abc import Callable
from statistics import median
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.tables import Database, Row, patient_rows, patients, plain, sealed
from benchmarks.timing import Contestant, Rounds, timed

# A sealed value is bound to about as many bytes: its header and its column.
ASSOCIATED_DATA = bytes(32)

OWNERS = {"platform table": 1, "50 tenants": 50, "500 tenants": 500}
MODELS = {
    "platform table": (patients("platform_plain", plain), patients("platform_sealed", sealed)),
    "50 tenants": (patients("fifty_plain", plain), patients("fifty_sealed", sealed, "clinic_id")),
    "500 tenants": (patients("many_plain", plain), patients("many_sealed", sealed, "clinic_id")),
}


def bare_decrypt(plaintexts: list[str]) -> Contestant:
    """Return a contestant that decrypts as many values of these lengths, and does nothing else."""
    cipher = AESGCM(AESGCM.generate_key(256))
    nonces = [os.urandom(12) for _ in plaintexts]
    bodies = [
        cipher.encrypt(nonce, text.encode(), ASSOCIATED_DATA)
        for nonce, text in zip(nonces, plaintexts, strict=True)
    ]
    decrypt, pairs = cipher.decrypt, list(zip(nonces, bodies, strict=True))

    def work() -> None:
        for nonce, body in pairs:
            decrypt(nonce, body, ASSOCIATED_DATA)

    return lambda: timed(work)[0]


def reading(database: Database, count: int, rounds: int) -> dict[str, float]:
    """Return what each opened value adds to a load, and the load against that of plain text.

    The bare loop decrypts as many values as a load opens.
    """
    contestants: dict[str, Contestant] = {
        "bare": bare_decrypt([row[column] for row in patient_rows(count) for column in ("name", "ssn")])
    }
    for owners, (plain_model, sealed_model) in MODELS.items():
        rows = patient_rows(count, OWNERS[owners])
        for text, model in (("plain", plain_model), ("sealed", sealed_model)):
            database.fill(model, rows)
            contestants |= {
                f"ORM load, {owners}, {text}": _load(database.orm_load, model, rows),
                f"Core load, {owners}, {text}": _load(database.core_load, model, rows),
            }
    seconds = Rounds(contestants, rounds)
    loads = [f"{kind} load, {owners}" for kind in ("ORM", "Core") for owners in OWNERS]
    figures = {}
    for load in loads:
        added = zip(seconds.added(f"{load}, sealed", f"{load}, plain"), seconds.seconds["bare"], strict=True)
        figures[f"{load}: added, against a bare decrypt"] = median(more / bare for more, bare in added)
    for load in loads:
        figures[f"{load}, against plain text"] = seconds.ratio(f"{load}, sealed", f"{load}, plain")
    for kind in ("ORM", "Core"):
        plain_load = f"{kind} load, platform table, plain"
        figures[f"{kind} load, if a value cost a bare decrypt"] = 1 + seconds.ratio("bare", plain_load)
        figures[f"{kind} load in plain text, us a row"] = seconds.median(plain_load) / count * 1e6
    return figures | {"a bare decrypt, us": seconds.median("bare") / count / 2 * 1e6}


def _load(load: Callable[[Any, list[Row]], float], model: Any, rows: list[Row]) -> Contestant:
    return lambda: load(model, rows)
