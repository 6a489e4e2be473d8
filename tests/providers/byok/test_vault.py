"""The vault's side over TLS with Microsoft's SDK: the emulator unwraps what was wrapped, or refuses it."""

from collections.abc import Callable, Iterator
from secrets import token_bytes
from typing import Any
from uuid import uuid4

import pytest
from azure.keyvault.keys import KeyClient
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from sqlalchemy_cmk.errors import CmkError, ConfigurationError, CredentialError, KeyUnavailable, TamperedError
from sqlalchemy_cmk.providers import AzureKeyVaultProvider
from sqlalchemy_cmk.providers.azure.identifiers import parse_identifier
from sqlalchemy_cmk.providers.byok import TargetKey, TransferBlob
from sqlalchemy_cmk.providers.byok.vault import ByokVault
from sqlalchemy_cmk.runtime.secret import Secret
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault

RSA_KEY = rsa.generate_private_key(65537, 2048)
USES = ("wrapKey", "unwrapKey")
DEK = Secret(bytes(range(32)))

Connect = Callable[..., ByokVault]


@pytest.fixture
def vault(emulator: KeyVaultEmulator) -> Iterator[Vault]:
    made = emulator.vault(uuid4().hex)
    yield made
    made.faults.clear()


@pytest.fixture
def connect(emulator: KeyVaultEmulator) -> Iterator[Connect]:
    """Opens a vault as its administrator, or as another principal."""
    made: list[ByokVault] = []

    def open_(vault: Vault, credential: Any = None, **options: Any) -> ByokVault:
        settings = {"retry_total": 0, **emulator.client_options, **options}
        who = credential or emulator.credential(emulator.admin, retry_total=0)
        key = parse_identifier(vault.key_uri("any"))
        assert key is not None
        made.append(ByokVault(key, who, emulator.trusted_hosts, **settings))
        return made[-1]

    yield open_
    for one in made:
        one.__exit__(None, None, None)


def exchange_kid(vault: Vault, size: int = 2048, **options: Any) -> str:
    return vault.create_key("exchange", "RSA-HSM", size, **{"key_ops": ["import"], **options}).kid


def blob(opened: ByokVault, kid: str, key: Any = RSA_KEY) -> bytes:
    exchange = opened.exchange_key(kid)
    return TransferBlob(kid, exchange.wrap(TargetKey.of(key, "a test").plaintext), "a test").dump()


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_an_rsa_key_becomes_a_kek(
    emulator: KeyVaultEmulator, vault: Vault, connect: Connect, size: int
) -> None:
    opened = connect(vault)
    made = opened.import_key("clinic-kek", blob(opened, exchange_kid(vault, size)), "RSA-HSM", USES)
    assert made.kid.startswith(vault.key_uri("clinic-kek")) and made.kty == "RSA-HSM"
    assert made.thumbprint == TargetKey.of(RSA_KEY, "a test").thumbprint
    options = {"trusted_hosts": emulator.trusted_hosts, **emulator.client_options}
    provider = AzureKeyVaultProvider(emulator.credential(), **options)
    try:
        provider.check(vault.key_uri("clinic-kek"))
        wrapped = provider.wrap(vault.key_uri("clinic-kek"), DEK)
    finally:
        provider.close()
    sha256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert RSA_KEY.decrypt(wrapped.data, sha256) == DEK.reveal()


def test_a_symmetric_key_becomes_a_kek_in_a_managed_hsm(emulator: KeyVaultEmulator, connect: Connect) -> None:
    secret, hsm = Secret(token_bytes(32)), emulator.managed_hsm(uuid4().hex)
    opened = connect(hsm)
    made = opened.import_key("clinic-kek", blob(opened, exchange_kid(hsm), secret), "oct-HSM", USES)
    assert (made.kty, made.thumbprint) == ("oct-HSM", None)
    options = {"trusted_hosts": emulator.trusted_hosts, **emulator.client_options}
    provider = AzureKeyVaultProvider(emulator.credential(), **options)
    try:
        wrapped = provider.wrap(hsm.key_uri("clinic-kek"), DEK)
    finally:
        provider.close()
    assert aes_key_unwrap(secret.reveal(), wrapped.data) == DEK.reveal()


@pytest.mark.parametrize(
    ("curve", "name"),
    [
        (ec.SECP256R1(), "P-256"),
        (ec.SECP256K1(), "P-256K"),
        (ec.SECP384R1(), "P-384"),
        (ec.SECP521R1(), "P-521"),
    ],
)
def test_a_key_on_a_curve_arrives(vault: Vault, connect: Connect, curve: ec.EllipticCurve, name: str) -> None:
    key, opened = ec.generate_private_key(curve), connect(vault)
    raw = blob(opened, exchange_kid(vault), key)
    made = opened.import_key("signer", raw, "EC-HSM", ["sign", "verify"], name)
    assert (made.kty, made.thumbprint) == ("EC-HSM", TargetKey.of(key, "a test").thumbprint)
    other = "P-384" if name == "P-256" else "P-256"
    with pytest.raises(TamperedError, match="another type or curve"):
        opened.import_key("signer", raw, "EC-HSM", ["sign", "verify"], other)


def test_a_second_import_is_a_new_version(vault: Vault, connect: Connect) -> None:
    opened = connect(vault)
    raw = blob(opened, exchange_kid(vault))
    one, other = (opened.import_key("clinic-kek", raw, "RSA-HSM", USES) for _ in range(2))
    assert one.kid != other.kid and one.thumbprint == other.thumbprint


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda vault: vault.create_key("plain", "RSA").kid, "is RSA: an exchange key is RSA-HSM"),
        (lambda vault: vault.create_key("wraps", "RSA-HSM").kid, "may be used for encrypt, decrypt"),
        (lambda vault: vault.key_uri("exchange"), "names no version"),
        (lambda vault: vault.key_uri("nothing", "0" * 32), "there is no such key or version"),
        (lambda vault: f"https://other.vault.azure.net/keys/exchange/{'0' * 32}", "is in another vault than"),
    ],
    ids=["software", "operations", "version", "missing", "vault"],
)
def test_a_wrong_exchange_key_is_refused_with_the_reason(
    vault: Vault, connect: Connect, make: Callable[[Vault], str], why: str
) -> None:
    opened, good = connect(vault), exchange_kid(vault)
    kid = make(vault)
    with pytest.raises(ConfigurationError, match=why):
        opened.exchange_key(kid)
    raw = TransferBlob(kid, opened.exchange_key(good).wrap(Secret(bytes(32))), "a test").dump()
    with pytest.raises(ConfigurationError, match=why):
        opened.import_key("clinic-kek", raw, "RSA-HSM", USES)
    assert vault.requests.count(operation="import") == 0


def test_a_blob_for_another_version_of_the_exchange_key_is_not_unwrapped(
    vault: Vault, connect: Connect
) -> None:
    opened, old = connect(vault), exchange_kid(vault)
    raw = TransferBlob(exchange_kid(vault), opened.exchange_key(old).wrap(Secret(bytes(32))), "a test").dump()
    with pytest.raises(TamperedError, match="does not unwrap the blob"):
        opened.import_key("clinic-kek", raw, "RSA-HSM", USES)


@pytest.mark.parametrize("place", [0, 100, 255, 256, -1])
def test_a_flipped_bit_is_found_by_the_vault(vault: Vault, connect: Connect, place: int) -> None:
    opened = connect(vault)
    whole = TransferBlob.load(blob(opened, exchange_kid(vault)))
    damaged = bytearray(whole.ciphertext)
    damaged[place] ^= 1
    raw = TransferBlob(whole.kid, bytes(damaged), "a test").dump()
    with pytest.raises(TamperedError, match="answered 400"):
        opened.import_key("clinic-kek", raw, "RSA-HSM", USES)


def test_a_cut_blob_is_not_sent(vault: Vault, connect: Connect) -> None:
    opened = connect(vault)
    whole = TransferBlob.load(blob(opened, exchange_kid(vault)))
    raw = TransferBlob(whole.kid, whole.ciphertext[:-1], "a test").dump()
    with pytest.raises(TamperedError, match="damaged"):
        opened.import_key("clinic-kek", raw, "RSA-HSM", USES)
    assert vault.requests.count(operation="import") == 0


def test_a_blob_of_another_type_is_refused(vault: Vault, connect: Connect) -> None:
    opened = connect(vault)
    raw = blob(opened, exchange_kid(vault), Secret(token_bytes(32)))
    with pytest.raises(TamperedError, match="another type"):
        opened.import_key("clinic-kek", raw, "RSA-HSM", USES)


def test_the_name_of_a_deleted_key_is_refused(
    emulator: KeyVaultEmulator, vault: Vault, connect: Connect
) -> None:
    opened = connect(vault)
    raw = blob(opened, exchange_kid(vault))
    opened.import_key("clinic-kek", raw, "RSA-HSM", USES)
    with KeyClient(vault.url, emulator.credential(emulator.admin), **emulator.client_options) as client:
        client.begin_delete_key("clinic-kek").wait()
    with pytest.raises(ConfigurationError, match="a deleted key has this name"):
        opened.import_key("clinic-kek", raw, "RSA-HSM", USES)


def test_who_may_not_import_is_told(emulator: KeyVaultEmulator, vault: Vault, connect: Connect) -> None:
    raw = blob(connect(vault), exchange_kid(vault))
    with pytest.raises(ConfigurationError, match="grant it get and import on keys"):
        connect(vault, emulator.credential()).import_key("clinic-kek", raw, "RSA-HSM", USES)


@pytest.mark.parametrize("trouble", ["credential", "down", "throttled", "trust"])
def test_a_vault_out_of_reach_is_told_apart(
    emulator: KeyVaultEmulator, vault: Vault, connect: Connect, trouble: str
) -> None:
    kid = exchange_kid(vault)
    opened: ByokVault
    expected: type[CmkError] = KeyUnavailable
    if trouble == "credential":
        opened = connect(vault, emulator.credential(emulator.admin, secret="wrong"))
        expected = CredentialError
    elif trouble == "trust":
        opened = connect(vault, connection_verify=True)
    else:
        opened = connect(vault)
        vault.faults.down() if trouble == "down" else vault.faults.throttle(times=5)
    with pytest.raises(expected):
        opened.exchange_key(kid)
