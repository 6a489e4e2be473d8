"""A signed certificate: its known answer, what verifies it, and what does not."""

import json
import stat
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from sqlalchemy_cmk import CmkError, ConfigurationError, KeyUnavailable, TamperedError
from sqlalchemy_cmk.certificates import SignedCertificate, make_certificate_key, verify
from sqlalchemy_cmk.certificates.signed import public_pem, signed
from sqlalchemy_cmk.keys.certificate_key import CertificateKey
from tests.certificates.conftest import PUBLIC, a_certificate, key_of

VECTOR = Path(__file__).parents[1] / "vectors" / "certificate.json"
DATA = signed(a_certificate(), key_of()).to_bytes()
PEM = public_pem(key_of().public())


def test_the_known_certificate_is_made_again_to_the_byte() -> None:
    assert VECTOR.read_bytes() == DATA


def test_the_known_certificate_verifies_by_what_the_page_says_alone() -> None:
    document = json.loads(VECTOR.read_bytes())
    form = json.dumps(document["certificate"], ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    signature = document["signature"]
    assert signature["algorithm"] == "Ed25519" and signature["key"] == PUBLIC
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(PUBLIC))
    key.verify(bytes.fromhex(signature["value"]), b"sqlalchemy_cmk certificate 1\n" + form.encode())


def test_the_issuer_is_known_by_the_key_or_its_fingerprint_and_by_nothing_else() -> None:
    found = verify(DATA)
    assert found.certificate == a_certificate() and not found.issuer_known
    der = key_of().public().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert found.fingerprint == sha256(der).hexdigest()
    assert verify(DATA, key=PEM).issuer_known
    colons = ":".join(found.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()
    assert verify(DATA, fingerprint=colons).issuer_known


def test_another_key_of_somebody_else_is_noticed() -> None:
    forged = signed(a_certificate(), key_of(bytes(range(32))))
    assert not verify(forged.to_bytes()).issuer_known
    for expected in ({"key": PEM}, {"fingerprint": verify(DATA).fingerprint}):
        with pytest.raises(TamperedError, match="another key has signed"):
            verify(forged.to_bytes(), **expected)  # type: ignore[arg-type]


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_any_altered_byte_is_noticed(at: int, mask: int) -> None:
    altered = bytearray(DATA)
    altered[at] ^= mask
    with pytest.raises(CmkError):
        verify(bytes(altered))


@given(st.integers(0, len(DATA)), st.binary(min_size=1, max_size=3))
def test_added_bytes_are_noticed_also_white_space(at: int, more: bytes) -> None:
    for added in (more, b" ", b"\n"):
        with pytest.raises(CmkError):
            verify(DATA[:at] + added + DATA[at:])


def test_a_document_of_one_meaning_in_another_form_is_noticed() -> None:
    document = json.loads(DATA)
    twice = DATA.replace(b'"operation":"shred"', b'"operation":"assign","operation":"shred"')
    for other in (json.dumps(document, indent=2).encode(), DATA[:-1], twice, b"[" * 100_000):
        with pytest.raises(CmkError):
            verify(other)


def test_a_signature_of_something_else_by_the_same_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made = signed(a_certificate(), key_of())
    other = replace(made, certificate=replace(made.certificate, tenant="globex"))
    with pytest.raises(TamperedError, match="altered since it was signed"):
        verify(other.to_bytes())
    form = DATA[:-1]
    bare = SignedCertificate(made.certificate, replace(made.signature, value=key_of().sign(form).hex()))
    with pytest.raises(TamperedError):
        verify(bare.to_bytes())


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff", b'{"certificate":{},"signature":{}}'])
def test_what_is_no_certificate_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match="this is not a certificate"):
        verify(data)


@pytest.mark.parametrize("expected", [{"key": b"no key"}, {"fingerprint": "no fingerprint"}])
def test_an_expected_key_that_is_none_is_refused(expected: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="cmk certificate public-key print"):
        verify(DATA, **expected)  # type: ignore[arg-type]


def test_the_key_file_is_the_owners_and_is_not_made_twice(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    public = make_certificate_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert CertificateKey(f"file:{path}").public() == public
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="is there already"):
        make_certificate_key(path)
    assert path.read_bytes() == before
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        CertificateKey(f"file:{path}").public()


def test_a_key_is_read_from_a_file_a_variable_or_a_function(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "certificate.pem"
    public = make_certificate_key(path)
    monkeypatch.setenv("SIGNING", path.read_text())
    for source in (f"file:{path}", "env:SIGNING", path.read_bytes, path.read_text):
        assert CertificateKey(source).public() == public  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["env:", "file:", "-----BEGIN PRIVATE KEY-----", b"bytes", 7])
def test_another_source_is_refused_and_not_quoted(source: object) -> None:
    with pytest.raises(ConfigurationError, match="says where the certificate key is kept") as raised:
        CertificateKey(source)  # type: ignore[arg-type]
    assert "BEGIN" not in str(raised.value)


def test_what_is_no_ed25519_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    form = Encoding.PEM, PrivateFormat.PKCS8
    wrong = [
        generate_private_key(SECP256R1()).private_bytes(*form, NoEncryption()),
        Ed25519PrivateKey.generate().private_bytes(*form, BestAvailableEncryption(b"word")),
        b"nothing of the kind",
    ]
    for pem in wrong:
        with pytest.raises(
            ConfigurationError, match="holds no certificate key: give an Ed25519 key"
        ) as raised:
            CertificateKey(lambda pem=pem: pem).public()  # type: ignore[misc]
        assert pem.splitlines()[len(pem.splitlines()) // 2].decode() not in str(raised.value)
    for source in ("env:CMK_NO_SUCH_VARIABLE", f"file:{tmp_path / 'none.pem'}"):
        with pytest.raises(KeyUnavailable):
            CertificateKey(source).public()
    assert "none.pem" in repr(CertificateKey(f"file:{tmp_path / 'none.pem'}"))


def test_a_process_with_nothing_but_the_file_and_the_key_verifies(tmp_path: Path) -> None:
    (tmp_path / "shred.json").write_bytes(DATA)
    (tmp_path / "public.pem").write_bytes(PEM)
    run = [sys.executable, "-m", "sqlalchemy_cmk.cli", "certificate", "verify", "shred.json"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""}
    proven = subprocess.run(
        [*run, "--key", "public.pem"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert proven.returncode == 0, proven.stderr
    assert "shred of acme, by Zoë" in proven.stdout and "issued by the key" in proven.stdout
    assert "not covered backups" in proven.stdout and "2 values under destroyed DEKs" in proven.stdout
