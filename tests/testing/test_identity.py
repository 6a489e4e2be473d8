"""An application signs in to a customer's directory without a secret, by a managed identity of its own."""

from collections.abc import Iterator

import pytest
from azure.identity import ClientAssertionCredential, ManagedIdentityCredential

from sqlalchemy_cmk import CredentialError
from sqlalchemy_cmk.providers import AzureKeyVaultProvider, Secret
from sqlalchemy_cmk.testing import KeyVaultEmulator, Principal, Vault

EXCHANGE = "api://AzureADTokenExchange/.default"
DEK = Secret(bytes(range(32)))


class Directories:
    """The vendor's directory with an identity, and the customer's with a vault and the application."""

    def __init__(self, ours: KeyVaultEmulator, theirs: KeyVaultEmulator) -> None:
        self.ours, self.theirs = ours, theirs
        self.identity = ours.principal("identity")
        self.application: Principal = theirs.principal("clinic", client_id=ours.app.client_id)
        self.vault: Vault = theirs.vault("acme")
        self.kek_uri = self.vault.key_uri("kek")
        self.vault.create_key("kek", tags={"cmk-tenant": "acme"})
        self.vault.revoke(theirs.app)
        self.vault.grant(self.application)

    def provider(self) -> AzureKeyVaultProvider:
        """As docs/choosing.md has it."""
        ours = ManagedIdentityCredential(client_id=self.identity.client_id, **self.ours.client_options)

        def without_secret(vault_url: str) -> ClientAssertionCredential:
            return ClientAssertionCredential(
                self.theirs.tenant_id,
                self.application.client_id,
                lambda: ours.get_token(EXCHANGE).token,
                authority=self.theirs.authority,
                disable_instance_discovery=True,
                **self.theirs.client_options,
            )

        return AzureKeyVaultProvider(
            credential_for=without_secret,
            trusted_hosts=self.theirs.trusted_hosts,
            retries=0,
            **self.theirs.client_options,
        )


@pytest.fixture
def directories(monkeypatch: pytest.MonkeyPatch) -> Iterator[Directories]:
    with KeyVaultEmulator() as ours, KeyVaultEmulator() as theirs:
        made = Directories(ours, theirs)
        for name, value in ours.managed_identity(made.identity).items():
            monkeypatch.setenv(name, value)
        yield made


def test_a_managed_identity_signs_an_application_in_to_another_directory(directories: Directories) -> None:
    directories.theirs.login.trust(directories.application, directories.identity, directories.ours.login)
    provider = directories.provider()
    assert provider.unwrap(provider.wrap(directories.kek_uri, DEK)) == DEK
    provider.close()
    assert directories.ours.requests.count(operation="identityToken", status=200) == 1
    assert directories.vault.requests.count(operation="unwrapKey", principal="clinic", status=200) == 1


def test_it_does_not_where_the_application_does_not_trust_it(directories: Directories) -> None:
    other = directories.ours.principal("another identity")
    for trusted in (None, other):
        if trusted is not None:
            directories.theirs.login.trust(directories.application, trusted, directories.ours.login)
        provider = directories.provider()
        with pytest.raises(CredentialError):
            provider.wrap(directories.kek_uri, DEK)
        provider.close()
    assert not directories.vault.requests.count(operation="wrapKey")


def test_an_identity_is_nobodys_who_does_not_know_its_header(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories.theirs.login.trust(directories.application, directories.identity, directories.ours.login)
    monkeypatch.setenv("IDENTITY_HEADER", "guessed")
    provider = directories.provider()
    with pytest.raises(CredentialError):
        provider.wrap(directories.kek_uri, DEK)
    provider.close()
    assert directories.ours.requests.count(operation="identityToken", status=401)
