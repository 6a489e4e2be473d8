"""The known answers hold, for the package and for an opener that knows docs/format.md alone."""

import datetime as dt
import hashlib
import json
import re
import sqlite3
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.codec import Codec, codec_for
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.sealing import (
    ColumnCipher,
    NotAuthentic,
    NotSealed,
    Suite,
    associated_data,
    column_key,
    header_of,
    parse_header,
)
from tests.support.databases import Database
from tests.vectors import VALUES, make

KNOWN = json.loads(make.FILE.read_text(encoding="utf-8"))
VECTORS: dict[tuple[int, str], dict[str, Any]] = {
    (one["suite"], one["name"]): one for one in KNOWN["vectors"]
}
# Published answers stay as they are: an opener in another language may rest on them. New ones are added.
PUBLISHED = "175a3bb7ceac69187054124ca030f4184f7fdd5165ef7a4b4753611e312bd3ae"


each_vector = pytest.mark.parametrize("key", VECTORS, ids=lambda key: f"{key[0]}-{key[1]}")
each_refused = pytest.mark.parametrize("bad", KNOWN["refused"], ids=lambda bad: bad["name"])


# An opener made from docs/format.md: nothing of the package, only cryptography and msgspec.


class Refused(Exception):
    """The value must not be opened."""


def open_sealed(sealed: bytes, context: str, deks: Mapping[bytes, bytes]) -> bytes:
    """The plaintext of a sealed value, given the DEKs by their ids."""
    if not sealed or sealed[0] not in (1, 2) or len(sealed) < (37 if sealed[0] == 1 else 25):
        raise Refused
    if sealed[1:9] not in deks:
        raise Refused
    name = context.encode()
    length = 32 if sealed[0] == 1 else 64
    key = HKDF(SHA256(), length, salt=None, info=sealed[:1] + name).derive(deks[sealed[1:9]])
    associated = b"cmk1" + sealed[:9] + name
    try:
        if sealed[0] == 1:
            return AESGCM(key).decrypt(sealed[9:21], sealed[21:], associated)
        return AESSIV(key).decrypt(sealed[9:], [associated])
    except InvalidTag:
        raise Refused from None


def decode(kind: str, plaintext: bytes) -> Any:
    """The value of a plaintext, in the terms of the vectors."""
    if kind in ("text", "enum"):
        return plaintext.decode()
    if kind == "bytes":
        return plaintext.hex()
    value = msgspec.msgpack.decode(plaintext, ext_hook=big_integer)
    if kind.startswith("array of "):
        return array(value, kind.removeprefix("array of "))
    if kind == "interval":
        return microseconds(value)
    return in_json(value) if kind == "structure" else value


def big_integer(code: int, digits: memoryview) -> int:
    if code != 1:
        raise Refused
    return int(bytes(digits))


def array(value: Any, item: str) -> Any:
    if isinstance(value, list):
        return [array(one, item) for one in value]
    return None if value is None else decode(item, value)


def microseconds(duration: str) -> int:
    found = re.fullmatch(r"(-?)P(?:(\d+)D)?(?:T(\d+)(?:\.(\d{1,6}))?S)?", duration)
    assert found
    sign, days, seconds, fraction = found.groups()
    whole = int(days or 0) * 86400 + int(seconds or 0)
    return (-1 if sign else 1) * (whole * 10**6 + int((fraction or "").ljust(6, "0")))


def in_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: in_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [in_json(one) for one in value]
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.hex() if isinstance(value, bytes) else value


def stored_deks(database: Path, key_file: Path) -> dict[bytes, bytes]:
    """Every DEK in the key tables, unwrapped with the KEKs of a local key file."""
    keks = json.loads(key_file.read_text())["keks"]
    found = {}
    with sqlite3.connect(database) as connection:
        for dek_id, kek_uri, version, algorithm, wrapped in connection.execute(
            "SELECT d.id, w.kek_uri, w.kek_version, w.algorithm, w.wrapped "
            "FROM cmk_deks d JOIN cmk_wrappings w ON w.dek_id = d.id"
        ):
            assert algorithm == "A256KW"
            versions = {one["id"]: one["key"] for one in keks[kek_uri.removeprefix("local:")]["versions"]}
            found[dek_id] = aes_key_unwrap(b64decode(versions[version]), wrapped)
    return found


def test_remaking_the_file_gives_the_file() -> None:
    assert make.FILE.read_bytes() == make.text().encode()


def test_the_published_answers_are_what_they_were() -> None:
    assert hashlib.sha256(make.FILE.read_bytes()).hexdigest() == PUBLISHED


def test_every_case_has_its_value_and_both_suites() -> None:
    assert {(suite, name) for suite in (1, 2) for name in VALUES} == set(VECTORS)
    assert len(VECTORS) == len(KNOWN["vectors"])


def test_no_two_vectors_share_a_nonce() -> None:
    nonces = [one["nonce"] for one in KNOWN["vectors"] if one["suite"] == 1]
    assert len(set(nonces)) == len(nonces) == len(make.CASES)


def package_cipher(vector: Mapping[str, Any], header: bytes) -> ColumnCipher:
    key = column_key(bytes.fromhex(vector["dek"]), Suite(header[0]), vector["context"])
    return ColumnCipher(key, header, vector["context"])


def package_codec(vector: Mapping[str, Any]) -> Codec:
    return codec_for(VALUES[vector["name"]][0], canonical=vector["suite"] == 2)


@each_vector
def test_the_package_opens_a_known_answer(key: tuple[int, str]) -> None:
    vector = VECTORS[key]
    sealed, dek_id = bytes.fromhex(vector["sealed"]), bytes.fromhex(vector["dek_id"])
    suite, found_id = parse_header(sealed)
    assert (suite, found_id) == (vector["suite"], dek_id)
    assert sealed[:9] == header_of(suite, dek_id)
    assert column_key(bytes.fromhex(vector["dek"]), suite, vector["context"]).hex() == vector["column_key"]
    assert associated_data(sealed[:9], vector["context"]).hex() == vector["associated_data"]
    plaintext = package_cipher(vector, sealed[:9]).open(sealed)
    assert plaintext.hex() == vector["plaintext"]
    value, expected = package_codec(vector).decode(plaintext), VALUES[vector["name"]][1]
    assert value == expected and type(value) is type(expected)


@each_vector
def test_the_package_encodes_a_value_to_the_known_plaintext(key: tuple[int, str]) -> None:
    vector = VECTORS[key]
    assert package_codec(vector).encode(VALUES[vector["name"]][1]).hex() == vector["plaintext"]


@pytest.mark.parametrize("name", VALUES)
def test_the_package_seals_a_deterministic_value_to_the_known_bytes(name: str) -> None:
    vector = VECTORS[2, name]
    cipher = package_cipher(vector, header_of(Suite.SIV, bytes.fromhex(vector["dek_id"])))
    assert cipher.seal(package_codec(vector).encode(VALUES[name][1])).hex() == vector["sealed"]


@each_vector
def test_an_independent_opener_opens_a_known_answer(key: tuple[int, str]) -> None:
    vector = VECTORS[key]
    deks = {bytes.fromhex(vector["dek_id"]): bytes.fromhex(vector["dek"])}
    plaintext = open_sealed(bytes.fromhex(vector["sealed"]), vector["context"], deks)
    assert plaintext.hex() == vector["plaintext"]
    assert json.dumps(decode(vector["type"], plaintext)) == json.dumps(vector["value"])


@each_refused
def test_both_refuse_what_must_not_open(bad: Mapping[str, Any]) -> None:
    sealed, dek_id = bytes.fromhex(bad["sealed"]), bytes.fromhex(bad["dek_id"])
    with pytest.raises(Refused):
        open_sealed(sealed, bad["context"], {dek_id: bytes.fromhex(bad["dek"])})
    with pytest.raises((NotSealed, NotAuthentic)):
        parse_header(sealed)
        # A column looks the DEK id up first. The cipher refuses another id by itself.
        package_cipher(bad, sealed[:9]).open(sealed)


def test_the_local_provider_opens_the_known_wrappings(tmp_path: Path, monkeypatch: Any) -> None:
    for known in KNOWN["wrappings"]:
        key = msgspec.json.decode(msgspec.json.encode(bytes.fromhex(known["kek"])))
        keys = {"format": 1, "keks": {"pmk": {"versions": [{"id": "v1", "key": key}], "enabled": True}}}
        monkeypatch.setenv("KNOWN_KEKS", json.dumps(keys))
        provider = LocalKeyProvider.from_environment("KNOWN_KEKS")
        wrapped = Wrapped("local:pmk", "v1", known["algorithm"], bytes.fromhex(known["wrapped"]))
        assert provider.unwrap(wrapped).hex() == known["dek"]
        assert provider.wrap("local:pmk", bytes.fromhex(known["dek"])) == wrapped


def test_an_independent_opener_reads_what_the_package_wrote_to_a_database(
    sqlite_database: Database, tmp_path: Path
) -> None:
    metadata, names = sa.MetaData(), dict(enumerate(VALUES))
    types = {f"v{i}_{suite}": (suite, name) for i, name in names.items() for suite in (1, 2)}
    columns = [
        sa.Column(column, EncryptedType(VALUES[name][0], deterministic=suite == 2))
        for column, (suite, name) in types.items()
    ]
    things = sa.Table("things", metadata, *columns)
    notes = sa.Table(
        "notes",
        metadata,
        sa.Column("text", EncryptedType(sa.String)),
        sa.Column("pinned", EncryptedType(sa.String, context="a name of its own")),
        schema="main",
    )
    engine = sa.create_engine(sqlite_database.url)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    keyring.protect(metadata)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(things.insert(), {column: VALUES[name][1] for column, (_, name) in types.items()})
        connection.execute(notes.insert(), {"text": "x", "pinned": "y"})
    keyring.close()
    engine.dispose()

    path = Path(str(engine.url.database))
    deks = stored_deks(path, tmp_path / "keys.json")
    with sqlite3.connect(path) as raw:
        stored = dict(zip(types, raw.execute("SELECT * FROM things").fetchone(), strict=True))
        text, pinned = raw.execute("SELECT text, pinned FROM notes").fetchone()
    for column, key in types.items():
        plaintext = open_sealed(stored[column], f"things.{column}", deks)
        assert plaintext.hex() == VECTORS[key]["plaintext"], key
        assert decode(VECTORS[key]["type"], plaintext) == VECTORS[key]["value"], key
    assert open_sealed(text, "main.notes.text", deks) == b"x"
    assert open_sealed(pinned, "a name of its own", deks) == b"y"
