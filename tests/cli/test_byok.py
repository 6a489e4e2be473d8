"""``cmk byok`` as a process, against the emulator over TLS and a token of SoftHSM; it needs no keyring."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sqlalchemy_cmk.cli.app import cmk
from sqlalchemy_cmk.providers.byok import TransferBlob
from sqlalchemy_cmk.providers.byok.target import thumbprint
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.providers.byok.conftest import KID, in_token, opened, vault_key
from tests.support.hsm import PIN
from tests.support.hsm.softhsm import SoftHsm

__all__ = ["vault_key"]

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PASSPHRASE = "correct horse"
TOKEN = "acme"
VAULT = "https://acme.vault.azure.net"


@pytest.fixture(scope="module")
def emulator() -> Iterator[KeyVaultEmulator]:
    with KeyVaultEmulator() as running:
        yield running


class Desk:
    """A folder to work in, a vault, and the environment of who may import into it."""

    def __init__(self, folder: Path, emulator: KeyVaultEmulator, vault: Vault) -> None:
        self.folder = folder
        self.vault = vault
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "CMK_"))},
            "AZURE_TENANT_ID": emulator.tenant_id,
            "AZURE_CLIENT_ID": emulator.admin.client_id,
            "AZURE_CLIENT_SECRET": emulator.admin.secret,
            "AZURE_AUTHORITY_HOST": emulator.authority,
            "REQUESTS_CA_BUNDLE": str(emulator.ca_file),
        }

    def trusted(self) -> list[str]:
        return ["--trusted-host", self.vault.url.removeprefix("https://")]

    def exchange_kid(self) -> str:
        return self.vault.create_key("exchange", "RSA-HSM", key_ops=["import"]).kid

    def key_file(self, key: Any = RSA_KEY, passphrase: str | None = None, mode: int = 0o600) -> str:
        encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        content = (
            key
            if isinstance(key, bytes)
            else key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        )
        path = self.folder / "key.pem"
        path.write_bytes(content)
        path.chmod(mode)
        return path.name

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "sqlalchemy_cmk.cli", "byok", *arguments, *self.trusted()],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *arguments: str, **environment: str) -> Any:
        done = self.run(*arguments, "--json", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def desk(tmp_path: Path, emulator: KeyVaultEmulator) -> Desk:
    return Desk(tmp_path, emulator, emulator.vault(uuid4().hex))


def made_in(softhsm: SoftHsm, kind: str, extractable: str = "yes", label: str | None = None) -> str:
    """Make a key in the token and return its URI."""
    label = label or f"byok-{uuid4().hex}"
    in_token(softhsm, "make", kind, label, extractable)
    return softhsm.uri(TOKEN, label)


@pytest.fixture
def pem(vault_key: rsa.RSAPrivateKey, tmp_path: Path) -> str:
    public = vault_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "exchange.pem").write_bytes(public)
    return "exchange.pem"


@pytest.mark.parametrize(
    ("key", "options"),
    [(RSA_KEY, []), (EC_KEY, ["--kty", "EC-HSM", "--curve", "P-256"])],
    ids=["RSA", "EC"],
)
def test_a_rehearsal_brings_a_key_into_the_vault(desk: Desk, key: Any, options: list[str]) -> None:
    made = desk.json("make", "clinic.byok", "--kid", desk.exchange_kid(), "--key-file", desk.key_file(key))
    brought = desk.json("import", desk.vault.key_uri("clinic-kek"), "clinic.byok", *options)
    assert brought["kid"].startswith(desk.vault.key_uri("clinic-kek") + "/")
    assert brought["kty"] == made["kty"] and brought["thumbprint"] == made["thumbprint"] is not None


def test_a_symmetric_key_goes_into_a_managed_hsm(desk: Desk, emulator: KeyVaultEmulator) -> None:
    desk.vault = emulator.managed_hsm(uuid4().hex)
    options = ["--kid", desk.exchange_kid(), "--key-file", desk.key_file(bytes(32)), "--symmetric"]
    assert desk.json("make", "clinic.byok", *options)["kty"] == "oct-HSM"
    brought = desk.json("import", desk.vault.key_uri("clinic-kek"), "clinic.byok", "--kty", "oct-HSM")
    assert (brought["kty"], brought["thumbprint"]) == ("oct-HSM", None)


def token(desk: Desk, softhsm: SoftHsm, uri: str, *more: str, pin: str = PIN) -> Any:
    options = [
        "--token-key",
        uri,
        "--profile",
        "softhsm",
        "--module",
        softhsm.module,
        "--pin",
        "env:TOKEN_PIN",
    ]
    return desk.run("make", "clinic.byok", *options, *more, TOKEN_PIN=pin)


def test_a_symmetric_key_is_wrapped_in_the_token(
    desk: Desk, softhsm: SoftHsm, emulator: KeyVaultEmulator
) -> None:
    desk.vault = emulator.managed_hsm(uuid4().hex)
    uri = made_in(softhsm, "AES")
    before = softhsm.owner(TOKEN, "count", "")
    made = token(desk, softhsm, uri, "--kid", desk.exchange_kid(), "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["kty"] == "oct-HSM"
    brought = desk.json("import", desk.vault.key_uri("clinic-kek"), "clinic.byok", "--kty", "oct-HSM")
    assert brought["kty"] == "oct-HSM" and softhsm.owner(TOKEN, "count", "") == before
    assert "SoftHSM" in json.loads((desk.folder / "clinic.byok").read_bytes())["generator"]


@pytest.mark.parametrize(
    ("kind", "extractable", "why"),
    [
        ("RSA", "yes", "no mechanism that wraps this key as RFC 5649 specifies"),
        ("EC", "yes", "no mechanism that wraps this key as RFC 5649 specifies"),
        ("AES", "", "CKA_EXTRACTABLE"),
    ],
)
def test_what_the_token_would_wrap_wrongly_is_refused(
    desk: Desk, softhsm: SoftHsm, pem: str, kind: str, extractable: str, why: str
) -> None:
    uri = made_in(softhsm, kind, extractable)
    done = token(desk, softhsm, uri, "--exchange-key", pem, "--kid", KID)
    assert done.returncode == 5 and why in done.stderr
    assert not (desk.folder / "clinic.byok").exists()


@pytest.mark.parametrize(
    ("uri", "options", "code", "why"),
    [
        ("pkcs11:token=acme;object=no-such-key", [], 5, "no private or secret key"),
        ("pkcs11:token=acme", [], 5, "names its token and the key"),
        ("local:key", [], 5, "write the URI of a key in a token"),
        ("pkcs11:token=nobody;object=clinic", [], 4, "is absent"),
        ("pkcs11:token=acme;object=clinic", ["--module", "/nowhere.so"], 5, "/nowhere.so"),
        ("pkcs11:token=acme;object=clinic", ["--profile", "enigma"], 5, "enigma"),
        (
            "pkcs11:token=acme;object=clinic",
            ["--pin", PIN],
            5,
            "do not give Pkcs11KeyProvider the PIN itself",
        ),
    ],
    ids=["key", "form", "scheme", "token", "module", "profile", "pin"],
)
def test_a_token_that_gives_no_key_is_told(
    desk: Desk, softhsm: SoftHsm, pem: str, uri: str, options: list[str], code: int, why: str
) -> None:
    done = token(desk, softhsm, uri, "--exchange-key", pem, "--kid", KID, *options)
    assert done.returncode == code and why in done.stderr and "Traceback" not in done.stderr
    assert PIN not in done.stderr + done.stdout


def test_a_refused_pin_is_tried_once_and_not_shown(desk: Desk, softhsm: SoftHsm, pem: str) -> None:
    uri = made_in(softhsm, "AES")
    done = token(desk, softhsm, uri, "--exchange-key", pem, "--kid", KID, pin="wrong-one")
    assert done.returncode == 6 and "CredentialError" in done.stderr and "wrong-one" not in done.stderr
    assert token(desk, softhsm, uri, "--exchange-key", pem, "--kid", KID).returncode == 0


def test_two_keys_of_one_label_are_not_chosen_between(desk: Desk, softhsm: SoftHsm, pem: str) -> None:
    uri = made_in(softhsm, "AES")
    made_in(softhsm, "AES", label=uri.rpartition("=")[2])
    done = token(desk, softhsm, uri, "--exchange-key", pem, "--kid", KID)
    assert done.returncode == 5 and "names 2 keys" in done.stderr


def test_an_encrypted_file_asks_for_its_passphrase_and_does_not_show_it(
    desk: Desk, pem: str, vault_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    options = ["--exchange-key", pem, "--kid", KID, "--key-file", desk.key_file(passphrase=PASSPHRASE)]
    command = ["byok", "make", "clinic.byok", *options]
    wrong = CliRunner().invoke(cmk, command, input="wrong\n", prog_name="cmk")
    assert wrong.exit_code == 5 and "passphrase is wrong" in wrong.stderr
    right = CliRunner().invoke(cmk, command, input=f"{PASSPHRASE}\n", prog_name="cmk")
    assert right.exit_code == 0 and PASSPHRASE not in right.output
    made = TransferBlob.load((desk.folder / "clinic.byok").read_bytes())
    assert opened(vault_key, made.ciphertext)
    assert desk.run(*command[1:]).returncode == 2, "nobody answers"


def test_a_key_that_others_can_read_is_refused(desk: Desk, pem: str) -> None:
    done = desk.run(
        "make", "b.byok", "--exchange-key", pem, "--kid", KID, "--key-file", desk.key_file(mode=0o644)
    )
    assert done.returncode == 5 and "chmod 600" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["make", "b.byok", "--key-file", "key.pem"], 2, "Give the exchange key"),
        (["make", "b.byok", "--exchange-key", "exchange.pem", "--kid", KID], 2, "Give the key to bring"),
        (["make", "b.byok", "--exchange-key", "exchange.pem", "--key-file", "key.pem"], 5, "identifier"),
        (["import", f"{VAULT}/keys/k/{'0' * 32}", "b.byok"], 5, "does not name a key to import"),
        (["import", "https://evil.example/keys/k", "b.byok"], 5, "no token is sent there"),
        (["import", "local:k", "b.byok"], 5, "does not name a key to import"),
        (["import", f"{VAULT}/keys/k", "nothing.byok"], 5, "there is no file"),
        (["import", f"{VAULT}/keys/k", "b.byok", "--curve", "P-256"], 2, "--curve"),
        (["import", f"{VAULT}/keys/k", "b.byok", "--kty", "EC-HSM"], 2, "--curve"),
        (["import", f"{VAULT}/keys/k", "key.pem"], 6, "not a transfer blob"),
    ],
)
def test_what_is_missing_or_wrong_is_said(
    desk: Desk, pem: str, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, why: str
) -> None:
    monkeypatch.chdir(desk.folder)
    desk.key_file()
    done = CliRunner().invoke(cmk, ["byok", *arguments], prog_name="cmk", catch_exceptions=False)
    assert done.exit_code == code and why in done.stderr


def test_no_file_is_written_over(desk: Desk, pem: str) -> None:
    name = desk.key_file()
    before = (desk.folder / name).read_bytes()
    done = desk.run("make", name, "--exchange-key", pem, "--kid", KID, "--key-file", name)
    assert done.returncode == 5 and "exists already" in done.stderr
    assert (desk.folder / name).read_bytes() == before


def test_make_tells_whose_exchange_key_it_was(
    desk: Desk, pem: str, vault_key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    command = ["byok", "make", "c.byok", "--exchange-key", pem, "--kid", KID, "--key-file", desk.key_file()]
    done = CliRunner().invoke(cmk, command, prog_name="cmk")
    mine, theirs = thumbprint(RSA_KEY.public_key()), thumbprint(vault_key.public_key())
    assert (
        done.stdout
        == f"c.byok holds a key of type RSA-HSM, thumbprint {mine}\nwrapped for {KID}, thumbprint {theirs}\n"
    )


def test_a_blob_for_another_vault_is_not_sent(desk: Desk, pem: str) -> None:
    options = ["--exchange-key", pem, "--kid", KID, "--key-file", desk.key_file()]
    desk.json("make", "clinic.byok", *options)
    done = desk.run("import", desk.vault.key_uri("clinic-kek"), "clinic.byok")
    assert done.returncode == 5 and "is in another vault than" in done.stderr
    assert len(desk.vault.requests) == 0


def test_nothing_secret_is_written_or_printed(desk: Desk) -> None:
    secret = bytes(range(100, 132))
    done = desk.run(
        "make", "c.byok", "--kid", desk.exchange_kid(), "--key-file", desk.key_file(secret), "--symmetric"
    )
    assert done.returncode == 0, done.stderr
    files = {one.name: one.read_bytes() for one in desk.folder.iterdir()}
    assert files.pop("key.pem") == secret and set(files) == {"c.byok"}
    everything = b"".join(files.values()) + (done.stdout + done.stderr).encode()
    assert secret not in everything and secret.hex().encode() not in everything
    assert stat.S_IMODE((desk.folder / "key.pem").stat().st_mode) == 0o600
