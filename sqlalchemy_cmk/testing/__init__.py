"""For tests: an emulator of Azure Key Vault and Managed HSM, and the tests that every key provider passes.

The unmodified Azure SDK talks to the emulator:

    from azure.keyvault.keys import KeyClient
    from sqlalchemy_cmk.testing import KeyVaultEmulator

    with KeyVaultEmulator() as emulator:
        vault = emulator.vault("acme")
        key = vault.create_key("clinic-kek")
        client = KeyClient(vault.url, emulator.credential(), **emulator.client_options)
        client.get_key("clinic-kek")
        vault.disable_key("clinic-kek")
        vault.faults.throttle(retry_after=1, times=3)
        emulator.requests.count(operation="unwrapKey", status=200)

It is a real HTTPS server on loopback: certificates are checked against the emulator's own authority
(``client_options``), credentials get their tokens from its own token issuer, each vault answers with Key
Vault's challenge, bodies and codes, and keys are really wrapped. It needs ``trustme``, and for credentials
also ``azure-identity``. Use it in tests only: its RSA keys are made in a way that is quick and insecure
(:mod:`sqlalchemy_cmk.testing.primes`), unless the test makes them and gives them to ``vault.import_key``.

:class:`ProviderContract` tests a provider of your own, whatever service it talks to.

pytest has the fixtures ``key_vault_emulator`` and ``key_vault``
(:mod:`sqlalchemy_cmk.testing.pytest_plugin`). ``python -m sqlalchemy_cmk.testing`` runs an emulator in its
own process.

Documented or reported behaviour of the service that it imitates and that may surprise:

- A disabled key refuses ``unwrapKey`` and ``decrypt``, but still wraps and encrypts, and can be read.
- Outside its dates a key refuses ``wrapKey`` and ``encrypt``, but still unwraps and decrypts.
- Versions are listed by their ids, not by age. A key's name alone means its newest version, enabled or not.
- An operation that ``key_ops`` lacks is 403 ``KeyOperationForbidden``.
- A Managed HSM shows nothing of an ``oct-HSM`` key, and reads base64 padding as zeros.
- 429 carries ``Retry-After`` unless the test turns it off; without it the SDK does not repeat a POST.

What it does not do:

- Elliptic curve keys: those in a transfer blob are imported and shown, and cannot be used.
- ``sign`` and ``verify``, of which only the permission is checked.
- Secrets, certificates, backup and restore, release, attestation, random numbers,
  AES-CBC, secure wrap. A damaged RSA1_5 ciphertext may open to other bytes instead of an error.
- Managed HSM's own roles, backups and security domain: permissions are granted by name there too.
- The management plane: vaults come from ``vault()`` and ``managed_hsm()`` and are not deleted; their
  connections can fail (``faults.down()``).
- Propagation delays: grants, deletions and changes of keys take effect at once.
- Automatic rotation: a rotation policy is stored, and applied when a key is rotated, but rotates nothing
itself.
- Checks of a token's claims: tokens look like JWTs but are looked up. Client secrets and the tokens
  of managed identities (``login.trust()``) can log in.
- Host names: a vault's address is an IP address, so that nothing is resolved and DNS errors cannot be tested.
  Public addresses such as ``https://acme.vault.azure.net`` are not served.
- The exact messages of the service: rely on codes and inner codes only. Those for a key outside its dates
  (``KeyExpired``, ``KeyNotYetValid``) are not documented and may differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy_cmk.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from sqlalchemy_cmk.testing.access import Principal
    from sqlalchemy_cmk.testing.emulator import KeyVaultEmulator
    from sqlalchemy_cmk.testing.faults import Faults
    from sqlalchemy_cmk.testing.log import RequestLog
    from sqlalchemy_cmk.testing.provider_contract import KekPlace, ProviderContract
    from sqlalchemy_cmk.testing.store import KeyVersion
    from sqlalchemy_cmk.testing.vaults import Vault

__all__ = [
    "Faults",
    "KekPlace",
    "KeyVaultEmulator",
    "KeyVersion",
    "Principal",
    "ProviderContract",
    "RequestLog",
    "Vault",
]

# The pytest plugin is imported in every run, and most runs start no server.
_HOMES = {
    "Faults": "faults",
    "KeyVersion": "store",
    "RequestLog": "log",
    "KekPlace": "provider_contract",
    "KeyVaultEmulator": "emulator",
    "Principal": "access",
    "ProviderContract": "provider_contract",
    "Vault": "vaults",
}
__getattr__ = lazy_names(__name__, _HOMES)
