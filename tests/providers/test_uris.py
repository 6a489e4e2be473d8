"""What a message shows of a URI that somebody typed a secret into."""

import pytest

from sqlalchemy_cmk import ConfigurationError, Keyring
from sqlalchemy_cmk.providers import LocalKeyProvider
from sqlalchemy_cmk.providers.uris import shown

SECRET = "s3cr3t-0815"


@pytest.mark.parametrize(
    "uri",
    [
        "local:pmk",
        "https://acme.vault.azure.net/keys/clinic-kek",
        "https://acme.vault.azure.net/keys/clinic-kek/0123456789abcdef0123456789abcdef",
        "pkcs11:token=T;object=NAME",
        "pkcs11:token=a%20b;serial=07;manufacturer=me@home;model=M;object=N;id=%01;type=private",
        "file:///etc/passwd",
        "acme",
        "",
    ],
)
def test_a_uri_without_secrets_is_shown_whole(uri: str) -> None:
    assert shown(uri) == uri


WITH_SECRET = [
    f"pkcs11:token=T;object=K?pin-value={SECRET}",
    f"pkcs11:token=T;object=K?module-path=/m.so&pin-source=|echo {SECRET}",
    f"pkcs11:token=T;object=K;pin-value={SECRET}",
    f"pkcs11:token=T;pin-value={SECRET};object=K",
    f"PKCS11:token=T;%70in-value={SECRET}",
    f"pkcs11:token=T;object=K%3Fpin-value={SECRET}",
    f"pkcs11:token=T;object=K%3fpin-value%3d{SECRET}",
    f"pkcs11:token=T;object=K pin-value={SECRET}",
    f"pkcs11:{SECRET}",
    f"pkcs11://user:{SECRET}@token/object",
    f"pkcs11:token=T;PIN-VALUE={SECRET}",
    f"https://app:{SECRET}@acme.vault.azure.net/keys/k",
    f"https://app:{SECRET}%40acme.vault.azure.net/keys/k",
    f"https:\\\\app:{SECRET}@acme.vault.azure.net/keys/k",
    f"https:/app:{SECRET}@acme.vault.azure.net/keys/k",
    f"https://a@b:{SECRET}@acme.vault.azure.net/keys/k",
    f"https://acme.vault.azure.net/keys/k?sig={SECRET}",
    f"https://acme.vault.azure.net/keys/k#{SECRET}",
    f"https://acme.vault.azure.net/keys/k;jsessionid={SECRET}",
    f"https://acme.vault.azure.net/keys/k%3Fsig={SECRET}",
    f"vault://root:{SECRET}@vault/transit/k",
    f"vault:token={SECRET}",
    f"local:pmk?password={SECRET}",
    f"app:{SECRET}@acme",
    f"pin-value={SECRET}",
    f"local:password={SECRET}",
]


@pytest.mark.parametrize("uri", WITH_SECRET)
def test_what_was_typed_into_a_uri_is_not_shown(uri: str) -> None:
    assert SECRET not in shown(uri) and SECRET[2:] not in shown(uri)


@pytest.mark.parametrize("uri", WITH_SECRET)
def test_no_error_and_no_finding_shows_what_was_typed_into_a_uri(uri: str, tmp_path) -> None:
    provider = LocalKeyProvider(tmp_path / "keys.json")
    if not provider.handles(uri):
        with pytest.raises(ConfigurationError) as caught:
            Keyring("sqlite://", platform_key=uri, providers=[provider])
        assert SECRET not in str(caught.value)
    findings = [str(one) for one in provider.health_checks(uri)]
    assert findings and SECRET not in "".join(findings)


def test_a_uri_is_shown_on_one_line_of_bounded_length() -> None:
    text = shown("local:a\nb\r\x1b[31m\x85\u2028\u202ec" + "d" * 1000)
    assert text.isprintable() and len(text) < 300
    assert text.startswith(r"local:a\nb\r\x1b[31m\x85\u2028\u202ec")
