"""Makes ``sealed-v1.json``, the known answers of the sealed format: ``python -m tests.vectors.make``.

The plaintexts stand in ``cases.py``, and the sealed values are computed with ``cryptography`` from what
docs/format.md says. Nothing of the package is used, so that it is measured against something else.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from tests.vectors.cases import CASES, NO_VALUES, Bound, Case, Key, Row, identity

FILE = Path(__file__).with_name("sealed-v1.json")
GCM, SIV = 1, 2
KEK = bytes(range(0x20, 0x40))


@dataclass(frozen=True)
class Dek:
    """A DEK for one suite, as its purpose wants it."""

    suite: int
    id: bytes
    key: bytes

    @property
    def header(self) -> bytes:
        return bytes((self.suite,)) + self.id

    def column_key(self, bound: Bound) -> bytes:
        info = bytes((self.suite,)) + bound.data
        return HKDF(SHA256(), 32 if self.suite == GCM else 64, salt=None, info=info).derive(self.key)

    def associated_data(self, bound: Bound, row: Row) -> bytes:
        return b"cmk1" + self.header + bound.data + identity(row)


DEKS = (
    Dek(GCM, bytes.fromhex("a1a2a3a4a5a6a7a8"), bytes(range(0x00, 0x20))),
    Dek(SIV, bytes.fromhex("b1b2b3b4b5b6b7b8"), bytes(range(0x80, 0xA0))),
)


def seal(dek: Dek, bound: Bound, row: Row, plaintext: bytes, nonce: bytes) -> bytes:
    key, associated = dek.column_key(bound), dek.associated_data(bound, row)
    if dek.suite == GCM:
        return dek.header + nonce + AESGCM(key).encrypt(nonce, plaintext, associated)
    return dek.header + AESSIV(key).encrypt(plaintext, [associated])


def vector(case: Case, dek: Dek) -> dict[str, Any]:
    value, plaintext = case.fixed if case.fixed and dek.suite == SIV else (case.value, case.plaintext)
    # A nonce of its own for each case: one key seals many of them.
    nonce = sha256(case.name.encode()).digest()[:12]
    return {
        "name": case.name,
        "suite": dek.suite,
        "dek_id": dek.id.hex(),
        "dek": dek.key.hex(),
        "bound_to": case.bound.shown(),
        "context": case.bound.data.hex(),
        "row": [one.shown() for one in case.row],
        "row_identity": identity(case.row).hex(),
        "column_key": dek.column_key(case.bound).hex(),
        "associated_data": dek.associated_data(case.bound, case.row).hex(),
        **({"nonce": nonce.hex()} if dek.suite == GCM else {}),
        "type": case.type,
        "value": value,
        "plaintext": plaintext.hex(),
        "sealed": seal(dek, case.bound, case.row, plaintext, nonce).hex(),
    }


def refused(good: dict[str, Any]) -> list[dict[str, Any]]:
    """Values that no opener may open, made from one that opens."""
    sealed = bytes.fromhex(good["sealed"])
    row_bound = bool(good["row"])
    changes = {
        "empty": {"sealed": ""},
        "plain text": {"sealed": b"078-05-1120".hex()},
        "unknown suite": {"sealed": (b"\x03" + sealed[1:]).hex()},
        "the other suite": {"sealed": (bytes((3 - sealed[0],)) + sealed[1:]).hex()},
        "another DEK id": {"sealed": (sealed[:1] + bytes(8) + sealed[9:]).hex()},
        "first bit after the header flipped": {
            "sealed": (sealed[:9] + bytes((sealed[9] ^ 0x80,)) + sealed[10:]).hex()
        },
        "last bit flipped": {"sealed": (sealed[:-1] + bytes((sealed[-1] ^ 1,))).hex()},
        "last byte missing": {"sealed": sealed[:-1].hex()},
        "one byte more": {"sealed": (sealed + b"\x00").hex()},
        "header alone": {"sealed": sealed[:9].hex()},
        "another column": {"context": Bound(column="email").data.hex()},
        "another table": {"context": Bound(table="people").data.hex()},
        "another schema": {"context": Bound("clinic").data.hex()},
        "the column's name pinned": {"context": Bound(pinned="patients.ssn").data.hex()},
        "another DEK": {"dek": bytes(range(0x40, 0x60)).hex()},
        "another row": {"row_identity": identity((Key("integer", 8, b"\x08"),)).hex()},
        **({"no row": {"row_identity": ""}} if row_bound else {}),
    }
    shared = {name: good[name] for name in ("dek_id", "dek", "context", "row_identity", "sealed")}
    kind = f"suite {good['suite']}{', row-bound' if row_bound else ''}"
    return [{"name": f"{kind}, {name}", **shared, **change} for name, change in changes.items()]


def document() -> dict[str, Any]:
    vectors = [vector(case, dek) for dek in DEKS for case in CASES if dek.suite == GCM or not case.row]
    first = {(one["suite"], bool(one["row"])): one for one in reversed(vectors)}
    return {
        "format": "the sealed value, version 1",
        "specification": "docs/format.md",
        "wrappings": [
            {
                "algorithm": "A256KW",
                "kek": KEK.hex(),
                "dek_id": dek.id.hex(),
                "dek": dek.key.hex(),
                "wrapped": aes_key_wrap(KEK, dek.key).hex(),
            }
            for dek in DEKS
        ],
        "vectors": vectors,
        "refused": [bad for _, good in sorted(first.items()) for bad in refused(good)],
        "no_values": [{"type": type_, "plaintext": plaintext.hex()} for type_, plaintext in NO_VALUES],
    }


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
