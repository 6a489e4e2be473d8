"""One short string, against the bare cipher with the same key."""

import os
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.rounds import repeated, rounds
from benchmarks.tables import MODELS, Bench
from sqlalchemy_cmk.marked import unmarked
from sqlalchemy_cmk.sealing import Suite, associated_data, column_key, header_of

TEXT = "078-05-1120"


def single(bench: Bench) -> dict[str, float]:
    """Return the ratios of opening and sealing one string."""
    type_ = MODELS["sealed"].__table__.c.ssn.type
    dek = bench.keyring.dek(bench.keyring.active("acme", type_.place.purpose).id)
    assert dek is not None
    header = header_of(Suite.GCM, dek.id)
    aad = associated_data(header, type_.place.context)
    cipher = AESGCM(column_key(dek._key, Suite.GCM, type_.place.context))
    seal, stored = type_.place.sealer("acme"), unmarked(type_.place.sealer("acme")(TEXT))
    opened: Callable[[bytes], str] = type_.result_processor(bench.engine.dialect, None)
    assert opened(stored) == TEXT
    nonce, body, raw = stored[9:21], stored[21:], TEXT.encode()
    decrypt, encrypt, urandom = cipher.decrypt, cipher.encrypt, os.urandom
    assert decrypt(nonce, body, aad) == raw
    seconds = rounds(
        {
            "decrypt": repeated(lambda: decrypt(nonce, body, aad)),
            "open": repeated(lambda: opened(stored)),
            "encrypt": repeated(lambda: encrypt(urandom(12), raw, aad)),
            "seal": repeated(lambda: seal(TEXT)),
        },
        15,
    )
    return {
        "open one short string": seconds["open"] / seconds["decrypt"],
        "seal one short string": seconds["seal"] / seconds["encrypt"],
    }
