"""The known answers hold, for the package and for the opener that docs/format.md prints."""

import hashlib
import json
import sqlite3
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from sqlalchemy_cmk import EncryptedType, Keyring
from sqlalchemy_cmk.ciphers import ColumnCipher, cipher_for, open_each
from sqlalchemy_cmk.codec import Codec, codec_for
from sqlalchemy_cmk.columns.identity import identity_of
from sqlalchemy_cmk.format import (
    Context,
    NotAuthentic,
    NotSealed,
    Suite,
    associated_data,
    column_key,
    header_of,
    parse_header,
    row_identity,
)
from sqlalchemy_cmk.providers import LocalKeyProvider, Wrapped
from sqlalchemy_cmk.runtime.secret import Secret
from tests.support.databases import Database
from tests.test_docs import ROOT, blocks
from tests.vectors import ROWS, SEVERAL, VALUES, make

KNOWN = json.loads(make.FILE.read_text(encoding="utf-8"))
VECTORS: dict[tuple[int, str], dict[str, Any]] = {
    (one["suite"], one["name"]): one for one in KNOWN["vectors"]
}
# Published answers stay as they are: an opener in another language may rest on them. New ones are added.
PUBLISHED = "3292ad8c559d879a0931e66dbeeed684830307e535cafd001bec29fd3fdd7ae7"

each_vector = pytest.mark.parametrize("key", VECTORS, ids=lambda key: f"{key[0]}-{key[1]}")
each_refused = pytest.mark.parametrize("bad", KNOWN["refused"], ids=lambda bad: bad["name"])
each_no_value = pytest.mark.parametrize(
    "bad", KNOWN["no_values"], ids=lambda bad: f"{bad['type']}-{bad['plaintext']}"
)

# Runs in a process of its own, with nothing of this package and no library that reads MessagePack.
DRIVER = """
import sys
for name in ("sqlalchemy_cmk", "sqlalchemy", "msgspec", "msgpack", "pydantic"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])

import json
from datetime import timedelta
from opener import open_sealed, value_of


def in_json(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def opened(one):
    deks = {bytes.fromhex(one["dek_id"]): bytes.fromhex(one["dek"])}
    parts = (bytes.fromhex(one[name]) for name in ("context", "row_identity"))
    return open_sealed(bytes.fromhex(one["sealed"]), deks, *parts)


def attempt(open_, *args):
    try:
        return open_(*args)
    except Exception as error:
        return {"error": type(error).__name__}


known = json.load(sys.stdin)
plaintexts = [opened(one) for one in known["vectors"]]
values = [value_of(one["type"], plain) for one, plain in zip(known["vectors"], plaintexts)]
refused = [attempt(opened, one) for one in known["refused"]]
no_values = [attempt(value_of, one["type"], bytes.fromhex(one["plaintext"])) for one in known["no_values"]]
answer = {"plaintexts": plaintexts, "values": values, "refused": refused, "no_values": no_values}
json.dump(answer, sys.stdout, default=in_json)
"""


def printed_opener() -> str:
    """Return the code of the section "An opener" of docs/format.md."""
    page = ROOT / "docs/format.md"
    before, _, section = page.read_text(encoding="utf-8").partition("\n## An opener\n")
    first = before.count("\n") + 1
    last = first + section.partition("\n## ")[0].count("\n") + 1
    return "\n\n".join(block.code for block in blocks(page) if first < block.line <= last)


@pytest.fixture(scope="module")
def opener() -> dict[str, Any]:
    """The names that the printed opener defines."""
    names: dict[str, Any] = {}
    exec(printed_opener(), names)
    return names


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the printed opener makes of the known answers, without the package."""
    folder = tmp_path_factory.mktemp("opener")
    (folder / "opener.py").write_text(printed_opener(), encoding="utf-8")
    (folder / "driver.py").write_text(DRIVER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "driver.py"), str(folder)],
        input=make.FILE.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


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
    assert {(1, name) for name in VALUES} | {(2, name) for name in VALUES if name not in ROWS} == set(VECTORS)
    assert len(VECTORS) == len(KNOWN["vectors"])


def test_no_two_vectors_share_a_nonce() -> None:
    nonces = [one["nonce"] for one in KNOWN["vectors"] if one["suite"] == 1]
    assert len(set(nonces)) == len(nonces) == len(make.CASES)


def package_context(vector: Mapping[str, Any]) -> Context:
    bound_to = vector["bound_to"]
    if "pinned" in bound_to:
        return Context.of_name(bound_to["pinned"])
    return Context.of_column(bound_to["schema"], bound_to["table"], bound_to["column"])


def package_cipher(vector: Mapping[str, Any], header: bytes, context: Context) -> ColumnCipher:
    return cipher_for(
        column_key(Secret(bytes.fromhex(vector["dek"])), Suite(header[0]), context), header, context
    )


def package_codec(vector: Mapping[str, Any]) -> Codec:
    return codec_for(VALUES[vector["name"]][0], canonical=vector["suite"] == 2)


def package_identity(vector: Mapping[str, Any]) -> bytes:
    """Return the row identity that the package makes of the row's Python values."""
    row = ROWS.get(vector["name"])
    if row is None:
        return b""
    columns = [sa.Column(f"c{n}", type_, primary_key=True) for n, (type_, _) in enumerate(row)]
    return identity_of(sa.Table("t", sa.MetaData(), *columns)).encoder()([value for _, value in row])


@each_vector
def test_the_package_opens_a_known_answer(key: tuple[int, str]) -> None:
    vector = VECTORS[key]
    sealed, dek_id = bytes.fromhex(vector["sealed"]), bytes.fromhex(vector["dek_id"])
    suite, found_id = parse_header(sealed)
    assert (suite, found_id) == (vector["suite"], dek_id)
    assert sealed[:9] == header_of(suite, dek_id)
    context, identity = package_context(vector), package_identity(vector)
    assert (context.data.hex(), identity.hex()) == (vector["context"], vector["row_identity"])
    assert (
        column_key(Secret(bytes.fromhex(vector["dek"])), suite, context).reveal().hex()
        == vector["column_key"]
    )
    assert associated_data(sealed[:9], context, identity).hex() == vector["associated_data"]
    cipher = package_cipher(vector, sealed[:9], context)
    plaintext = cipher.open(sealed, identity)
    assert plaintext.hex() == vector["plaintext"]
    assert open_each([cipher.opener] * 2, [sealed] * 2, [identity] * 2) == [plaintext] * 2
    value, expected = package_codec(vector).decode(plaintext), VALUES[vector["name"]][1]
    assert value == expected and type(value) is type(expected)


@each_vector
def test_the_package_encodes_a_value_to_the_known_plaintext(key: tuple[int, str]) -> None:
    vector = VECTORS[key]
    assert package_codec(vector).encode(VALUES[vector["name"]][1]).hex() == vector["plaintext"]


@each_vector
def test_the_package_seals_a_value_to_the_known_bytes(key: tuple[int, str]) -> None:
    vector = VECTORS[key]
    header = header_of(Suite(vector["suite"]), bytes.fromhex(vector["dek_id"]))
    cipher = package_cipher(vector, header, package_context(vector))
    plaintext = package_codec(vector).encode(VALUES[vector["name"]][1])
    nonce = bytes.fromhex(vector.get("nonce", ""))
    assert cipher.seal_with(plaintext, nonce, package_identity(vector)).hex() == vector["sealed"]


def test_a_row_identity_is_made_of_its_columns_plaintexts() -> None:
    for vector in KNOWN["vectors"]:
        row = vector["row"]
        assert (vector["name"] in ROWS) is bool(row)
        if row:
            plaintexts = [bytes.fromhex(one["plaintext"]) for one in row]
            assert row_identity(plaintexts).hex() == vector["row_identity"]


@each_vector
def test_the_printed_opener_opens_a_known_answer(key: tuple[int, str], answers: Mapping[str, Any]) -> None:
    vector, n = VECTORS[key], list(VECTORS).index(key)
    assert answers["plaintexts"][n] == vector["plaintext"]
    # As text, so that 1, 1.0 and true are three values.
    assert json.dumps(answers["values"][n]) == json.dumps(vector["value"])


@each_vector
def test_the_printed_opener_makes_the_contexts_and_row_identities(
    key: tuple[int, str], opener: Mapping[str, Callable[..., Any]]
) -> None:
    vector = VECTORS[key]
    bound_to, row = vector["bound_to"], vector["row"]
    make_context = opener["pinned_context" if "pinned" in bound_to else "column_context"]
    assert make_context(*bound_to.values()).hex() == vector["context"]
    if row:
        plaintexts = [bytes.fromhex(one["plaintext"]) for one in row]
        assert opener["row_identity"](plaintexts).hex() == vector["row_identity"]


@each_refused
def test_both_refuse_what_must_not_open(bad: Mapping[str, Any], answers: Mapping[str, Any]) -> None:
    assert answers["refused"][KNOWN["refused"].index(bad)] == {"error": "ValueError"}
    sealed, dek_id = bytes.fromhex(bad["sealed"]), bytes.fromhex(bad["dek_id"])
    context, identity = Context((), bytes.fromhex(bad["context"])), bytes.fromhex(bad["row_identity"])
    with pytest.raises((NotSealed, NotAuthentic)):
        suite, _ = parse_header(sealed)
        # A column looks the DEK id up first. The cipher refuses another id by itself.
        package_cipher(bad, header_of(suite, dek_id), context).open(sealed, identity)


@each_no_value
def test_both_refuse_a_plaintext_that_is_no_value(bad: Mapping[str, Any], answers: Mapping[str, Any]) -> None:
    assert "error" in answers["no_values"][KNOWN["no_values"].index(bad)]
    declared = next(VALUES[one["name"]][0] for one in KNOWN["vectors"] if one["type"] == bad["type"])
    with pytest.raises(Exception):  # noqa: B017  (the column names whatever the codec raises)
        codec_for(declared, canonical=False).decode(bytes.fromhex(bad["plaintext"]))


def test_the_local_provider_opens_the_known_wrappings(tmp_path: Path, monkeypatch: Any) -> None:
    for known in KNOWN["wrappings"]:
        key = msgspec.json.decode(msgspec.json.encode(bytes.fromhex(known["kek"])))
        keys = {"format": 1, "keks": {"pmk": {"versions": [{"id": "v1", "key": key}], "enabled": True}}}
        monkeypatch.setenv("KNOWN_KEKS", json.dumps(keys))
        provider = LocalKeyProvider.from_environment("KNOWN_KEKS")
        wrapped = Wrapped("local:pmk", "v1", known["algorithm"], bytes.fromhex(known["wrapped"]))
        assert provider.unwrap(wrapped).reveal().hex() == known["dek"]
        assert provider.wrap("local:pmk", Secret(bytes.fromhex(known["dek"]))) == wrapped


def test_the_printed_opener_reads_what_the_package_wrote_to_a_database(
    sqlite_database: Database, tmp_path: Path, opener: Mapping[str, Callable[..., Any]]
) -> None:
    metadata, types = sa.MetaData(), {f"v{n}": key for n, key in enumerate(VECTORS)}
    columns = [
        sa.Column(column, EncryptedType(VALUES[name][0], deterministic=suite == 2))
        for column, (suite, name) in types.items()
    ]
    things = sa.Table("things", metadata, *columns)
    # Moments with a zone and decimals are not kept exactly by SQLite.
    kept = [one for one in SEVERAL if not isinstance(one[0], sa.DateTime | sa.Numeric)]
    notes = sa.Table(
        "notes",
        metadata,
        *(sa.Column(f"key{n}", type_, primary_key=True) for n, (type_, _) in enumerate(kept)),
        sa.Column("text", EncryptedType(sa.String)),
        sa.Column("pinned", EncryptedType(sa.String, context="a name of its own")),
        sa.Column("moved", EncryptedType(sa.String, context=("old", "name"))),
        sa.Column("bound", EncryptedType(sa.String, row_bound=True)),
        schema="main",
    )
    engine = sa.create_engine(sqlite_database.url)
    keyring = Keyring(engine, platform_key="local:pmk", providers=[LocalKeyProvider(tmp_path / "keys.json")])
    keyring.protect(metadata)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(things.insert(), {column: VALUES[name][1] for column, (_, name) in types.items()})
        keys = {f"key{n}": value for n, (_, value) in enumerate(kept)}
        connection.execute(notes.insert(), keys | {"text": "x", "pinned": "y", "moved": "z", "bound": "b"})
    keyring.close()
    engine.dispose()

    path = Path(str(engine.url.database))
    deks = stored_deks(path, tmp_path / "keys.json")
    with sqlite3.connect(path) as raw:
        stored = dict(zip(types, raw.execute("SELECT * FROM things").fetchone(), strict=True))
        text, pinned, moved, bound = raw.execute("SELECT text, pinned, moved, bound FROM notes").fetchone()
    open_sealed, column_context = opener["open_sealed"], opener["column_context"]
    for column, key in types.items():
        plaintext = open_sealed(stored[column], deks, column_context(None, "things", column))
        assert plaintext.hex() == VECTORS[key]["plaintext"], key
    assert open_sealed(text, deks, column_context("main", "notes", "text")) == b"x"
    assert open_sealed(pinned, deks, opener["pinned_context"]("a name of its own")) == b"y"
    assert open_sealed(moved, deks, column_context(None, "old", "name")) == b"z"
    identity = opener["row_identity"](
        [codec_for(type_, canonical=True).encode(value) for type_, value in kept]
    )
    assert open_sealed(bound, deks, column_context("main", "notes", "bound"), identity) == b"b"
