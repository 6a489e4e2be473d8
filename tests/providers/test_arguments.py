"""Wrong arguments of a provider are refused when it is made, and the error says what to give."""

from collections.abc import Callable
from typing import Any

import pytest

from sqlalchemy_cmk import ConfigurationError
from sqlalchemy_cmk import providers as face
from sqlalchemy_cmk.providers import AzureKeyVaultProvider, LocalKeyProvider, Pkcs11KeyProvider


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LocalKeyProvider(None), "takes the path of its key file"),  # type: ignore[arg-type]
        (lambda: AzureKeyVaultProvider(), "either a credential or credential_for"),
        (lambda: AzureKeyVaultProvider("https://acme.vault.azure.net"), "such as DefaultAzureCredential"),
        (lambda: AzureKeyVaultProvider(object(), trusted_hosts="*.example"), r"give \['\*\.example'\]"),
        (lambda: AzureKeyVaultProvider(object(), retries=-1), "retries is a number, 0 or more, not -1"),
        (lambda: AzureKeyVaultProvider(object(), retry_bound="10 s"), "retry_bound is a number"),
        (lambda: AzureKeyVaultProvider(object(), version_check=None), "version_check is a number"),
        (lambda: Pkcs11KeyProvider(), "give Pkcs11KeyProvider module="),
        (lambda: Pkcs11KeyProvider("/nowhere.so", tokens="acme"), r"give \['acme'\]"),
        (
            lambda: Pkcs11KeyProvider("/nowhere.so", pin="1234"),
            "do not give Pkcs11KeyProvider the PIN itself",
        ),
        (lambda: Pkcs11KeyProvider("/nowhere.so", profile="enigma"), "there is no profile 'enigma'"),
    ],
)
def test_a_wrong_argument_is_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refusal:
        make()
    assert "1234" not in str(refusal.value)


def test_the_package_gives_every_public_name_and_no_other() -> None:
    assert all(getattr(face, name).__name__ == name for name in face.__all__)
    with pytest.raises(AttributeError, match="no attribute 'AwsProvider'"):
        _ = face.AwsProvider  # type: ignore[attr-defined]
