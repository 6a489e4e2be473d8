"""Makes ``sealed-v1.json``, the known answers of the sealed format: ``python -m tests.vectors.make``.

The plaintexts stand here byte by byte, and the sealed values are computed with ``cryptography`` from what
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

FILE = Path(__file__).with_name("sealed-v1.json")
GCM, SIV = 1, 2
KEK = bytes(range(0x20, 0x40))


@dataclass(frozen=True)
class Dek:
    """A DEK for one suite, as its purpose wants it."""

    suite: int
    id: bytes
    key: bytes

    def column_key(self, context: str) -> bytes:
        info = bytes((self.suite,)) + context.encode()
        length = 32 if self.suite == GCM else 64
        return HKDF(SHA256(), length, salt=None, info=info).derive(self.key)

    def associated_data(self, context: str) -> bytes:
        return b"cmk1" + bytes((self.suite,)) + self.id + context.encode()


DEKS = (
    Dek(GCM, bytes.fromhex("a1a2a3a4a5a6a7a8"), bytes(range(0x00, 0x20))),
    Dek(SIV, bytes.fromhex("b1b2b3b4b5b6b7b8"), bytes(range(0x80, 0xA0))),
)


@dataclass(frozen=True)
class Case:
    """A value and its plaintext; ``fixed`` is both in a deterministic column, where they differ there."""

    name: str
    type: str
    value: Any
    plaintext: bytes
    fixed: tuple[Any, bytes] | None = None
    context: str = "patients.ssn"


UUID = "c9bf9e57-1685-4c89-bafb-ff5af830be8a"
BIG = (
    b"\x93\xc7\x14\x0118446744073709551616\xc7\x14\x01-9223372036854775809"
    b"\xcf\x80\x00\x00\x00\x00\x00\x00\x00"
)

CASES = (
    Case("text", "text", "078-05-1120", b"078-05-1120"),
    Case("text, empty", "text", "", b""),
    Case("text, beyond ASCII", "text", "Zoë 🩺", b"Zo\xc3\xab \xf0\x9f\xa9\xba"),
    Case("text, table in a schema", "text", "x", b"x", context="clinic.patients.ssn"),
    Case("text, pinned context", "text", "x", b"x", context="person.email"),
    Case("text, context beyond ASCII", "text", "x", b"x", context="größen.schuh"),
    Case("bytes", "bytes", "00ff80", b"\x00\xff\x80"),
    Case("bytes, empty", "bytes", "", b""),
    Case("integer, zero", "integer", 0, b"\x00"),
    Case("integer, one byte", "integer", 127, b"\x7f"),
    Case("integer, two bytes", "integer", 128, b"\xcc\x80"),
    Case("integer, five bytes", "integer", 65536, b"\xce\x00\x01\x00\x00"),
    Case("integer, negative", "integer", -33, b"\xd0\xdf"),
    Case("integer, largest", "integer", 2**63 - 1, b"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"),
    Case("integer, smallest", "integer", -(2**63), b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
    Case("boolean, true", "boolean", True, b"\xc3"),
    Case("boolean, false", "boolean", False, b"\xc2"),
    Case("float", "float", 0.1, b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
    Case("float, whole", "float", 1.0, b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    Case(
        "float, negative zero",
        "float",
        -0.0,
        b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00",
        fixed=(0.0, b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00"),
    ),
    Case("decimal", "decimal", "1.10", b"\xa41.10", fixed=("1.1", b"\xa31.1")),
    Case("decimal, trailing zeros", "decimal", "100", b"\xa3100", fixed=("1E+2", b"\xa41E+2")),
    Case(
        "decimal, 33 characters",
        "decimal",
        "-12345678901234567890.12345678901",
        b"\xd9\x21-12345678901234567890.12345678901",
    ),
    Case("date", "date", "2026-02-28", b"\xaa2026-02-28"),
    Case("datetime", "datetime", "2026-01-02T03:04:05.000006", b"\xba2026-01-02T03:04:05.000006"),
    Case("datetime, whole second", "datetime", "0001-01-01T00:00:00", b"\xb30001-01-01T00:00:00"),
    Case(
        "datetime, aware",
        "datetime",
        "2026-01-02T03:04:05.000006+05:30",
        b"\xd9\x202026-01-02T03:04:05.000006+05:30",
        fixed=("2026-01-01T21:34:05.000006+00:00", b"\xd9\x202026-01-01T21:34:05.000006+00:00"),
    ),
    Case("time", "time", "23:59:59.999999", b"\xaf23:59:59.999999"),
    Case("time, whole second, aware", "time", "07:30:00-02:00", b"\xae07:30:00-02:00"),
    Case("interval", "interval", 2 * 86400_000000 + 3600_500000, b"\xabP2DT3600.5S"),
    Case("interval, negative", "interval", -1, b"\xac-PT0.000001S"),
    Case("interval, zero", "interval", 0, b"\xa3P0D"),
    Case("uuid", "uuid", UUID, b"\xd9\x24" + UUID.encode()),
    Case("uuid, as text", "uuid", UUID, b"\xd9\x24" + UUID.encode()),
    Case("enum, name of a member", "enum", "RED", b"RED"),
    Case("enum, plain", "enum", "small", b"small"),
    Case(
        "json",
        "json",
        {"b": [1, 2.5, "x", None, True], "a": {}},
        b"\x82\xa1b\x95\x01\xcb\x40\x04\x00\x00\x00\x00\x00\x00\xa1x\xc0\xc3\xa1a\x80",
        fixed=(
            {"a": {}, "b": [1, 2.5, "x", None, True]},
            b"\x82\xa1a\x80\xa1b\x95\x01\xcb\x40\x04\x00\x00\x00\x00\x00\x00\xa1x\xc0\xc3",
        ),
    ),
    Case("json, null", "json", None, b"\xc0"),
    Case("json, integers beyond 64 bits", "json", [2**64, -(2**63) - 1, 2**63], BIG),
    Case("array of integers", "array of integer", [1, None, -5], b"\x93\xc4\x01\x01\xc0\xc4\x01\xfb"),
    Case("array, empty", "array of integer", [], b"\x90"),
    Case(
        "array of two dimensions",
        "array of integer",
        [[1, 2], [128, None]],
        b"\x92\x92\xc4\x01\x01\xc4\x01\x02\x92\xc4\x02\xcc\x80\xc0",
    ),
    Case("array of texts", "array of text", ["é", ""], b"\x92\xc4\x02\xc3\xa9\xc4\x00"),
    Case("array of dates", "array of date", ["2026-02-28"], b"\x91\xc4\x0b\xaa2026-02-28"),
    Case("annotation", "structure", [1, 128], b"\x92\x01\xcc\x80"),
    Case(
        "dataclass",
        "structure",
        {"street": "Rue 1", "since": "2026-02-28"},
        b"\x82\xa6street\xa5Rue 1\xa5since\xaa2026-02-28",
    ),
    Case(
        "dataclass with a default",
        "structure",
        {"street": "Rue 1", "since": None},
        b"\x82\xa6street\xa5Rue 1\xa5since\xc0",
    ),
    Case(
        "msgspec", "structure", {"x": 3, "y": 0.5}, b"\x82\xa1x\x03\xa1y\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"
    ),
    Case("msgspec, as an array", "structure", [3, "ff"], b"\x92\x03\xc4\x01\xff"),
    Case(
        "pydantic",
        "structure",
        {"paid": "1.10", "at": "2026-01-01T21:34:05.000006Z", "tags": ["x"]},
        b"\x83\xa4paid\xa41.10\xa2at\xd7\xff\x00\x00\x5d\xc0\x69\x56\xe8\x4d\xa4tags\x91\xa1x",
        fixed=(
            {"at": "2026-01-01T21:34:05.000006Z", "paid": "1.10", "tags": ["x"]},
            b"\x83\xa2at\xd7\xff\x00\x00\x5d\xc0\x69\x56\xe8\x4d\xa4paid\xa41.10\xa4tags\x91\xa1x",
        ),
    ),
    Case(
        "timestamps of 4 and 12 bytes",
        "structure",
        ["2026-01-01T21:34:05Z", "1960-01-01T00:00:00.000005Z"],
        b"\x92\xd6\xff\x69\x56\xe8\x4d\xc7\x0c\xff\x00\x00\x13\x88\xff\xff\xff\xff\xed\x30\x08\x80",
    ),
)


def seal(dek: Dek, context: str, plaintext: bytes, nonce: bytes) -> bytes:
    key, associated = dek.column_key(context), dek.associated_data(context)
    header = bytes((dek.suite,)) + dek.id
    if dek.suite == GCM:
        return header + nonce + AESGCM(key).encrypt(nonce, plaintext, associated)
    return header + AESSIV(key).encrypt(plaintext, [associated])


def vector(case: Case, dek: Dek) -> dict[str, Any]:
    value, plaintext = case.fixed if case.fixed and dek.suite == SIV else (case.value, case.plaintext)
    # A nonce of its own for each case: one key seals them all.
    nonce = sha256(case.name.encode()).digest()[:12]
    return {
        "name": case.name,
        "suite": dek.suite,
        "dek_id": dek.id.hex(),
        "dek": dek.key.hex(),
        "context": case.context,
        "column_key": dek.column_key(case.context).hex(),
        "associated_data": dek.associated_data(case.context).hex(),
        **({"nonce": nonce.hex()} if dek.suite == GCM else {}),
        "type": case.type,
        "value": value,
        "plaintext": plaintext.hex(),
        "sealed": seal(dek, case.context, plaintext, nonce).hex(),
    }


def refused(good: dict[str, Any]) -> list[dict[str, Any]]:
    """Values that no opener may open, made from one that opens."""
    sealed = bytes.fromhex(good["sealed"])
    flipped = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    changes = {
        "empty": {"sealed": ""},
        "plain text": {"sealed": b"078-05-1120".hex()},
        "unknown suite": {"sealed": (b"\x03" + sealed[1:]).hex()},
        "the other suite": {"sealed": (bytes((3 - sealed[0],)) + sealed[1:]).hex()},
        "another DEK id": {"sealed": (sealed[:1] + bytes(8) + sealed[9:]).hex()},
        "last bit flipped": {"sealed": flipped.hex()},
        "last byte missing": {"sealed": sealed[:-1].hex()},
        "one byte more": {"sealed": (sealed + b"\x00").hex()},
        "header alone": {"sealed": sealed[:9].hex()},
        "another context": {"context": "patients.email"},
        "another DEK": {"dek": bytes(range(0x40, 0x60)).hex()},
    }
    shared = {name: good[name] for name in ("dek_id", "dek", "context", "sealed")}
    return [
        {"name": f"suite {good['suite']}, {name}", **shared, **change} for name, change in changes.items()
    ]


def document() -> dict[str, Any]:
    vectors = [vector(case, dek) for dek in DEKS for case in CASES]
    first = [next(one for one in vectors if one["suite"] == dek.suite) for dek in DEKS]
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
        "refused": [bad for good in first for bad in refused(good)],
    }


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
