"""For tests: Azure Key Vault and Managed HSM on loopback, which the unmodified Azure SDK talks to.

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

It is a real HTTPS server: certificates are checked against the emulator's own authority (``client_options``),
credentials get their tokens from the emulator's own token issuer, each vault answers with Key Vault's
challenge, bodies and codes, and keys are really wrapped. It needs ``trustme``, and for credentials also
``azure-identity``. It belongs in tests only: its RSA keys are made in a way that is quick and insecure
(:mod:`sqlalchemy_cmk.testing.primes`), unless the test makes them and gives them to ``vault.import_key``.

With pytest the fixtures ``key_vault_emulator`` and ``key_vault`` are there
(:mod:`sqlalchemy_cmk.testing.pytest_plugin`). ``python -m sqlalchemy_cmk.testing`` runs an emulator as a
process of its own.

Where it does what the service is documented or reported to do, and that may surprise:

- A disabled key refuses ``unwrapKey`` and ``decrypt``, but goes on wrapping and encrypting, and is shown.
- Outside its dates a key refuses ``wrapKey`` and ``encrypt``, but still unwraps and decrypts.
- Versions are listed by their ids, not by age. A key's name alone means its newest version, enabled or not.
- An operation that ``key_ops`` lacks is 403 ``KeyOperationForbidden``.
- A Managed HSM shows nothing of an ``oct-HSM`` key, and reads base64 padding as zeros.
- 429 carries ``Retry-After`` unless the test says otherwise; without it the SDK does not repeat a POST.

What it does not do:

- Elliptic curve keys: those that a transfer blob brings are kept and shown, and that is all.
- ``sign`` and ``verify``, secrets, certificates, backup and restore, release, attestation, random numbers,
  AES-CBC, secure wrap. A damaged RSA1_5 ciphertext may open to other bytes instead of an error.
- Managed HSM's own roles, backups and security domain: permissions are granted by name there too.
- The management plane: vaults come from ``vault()`` and ``managed_hsm()`` and are not deleted; their
  connections can fail (``faults.down()``).
- Delays: grants, deletions and changes of keys hold at once.
- Automatic rotation: a rotation policy is kept, and obeyed when a key is rotated, but does not rotate it.
- Checks of what a token says: tokens look like JWTs but are known by heart. Only client secrets log in.
- Names: a vault's address is a number, so that nothing has to be resolved and no error of DNS can be
  tried. Public addresses such as ``https://acme.vault.azure.net`` are not answered.
- The messages of the service, word for word: codes and inner codes are meant to be relied upon. Those for
  a key outside its dates (``KeyExpired``, ``KeyNotYetValid``) are not documented and may differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy_cmk.testing.access import Principal
    from sqlalchemy_cmk.testing.emulator import KeyVaultEmulator
    from sqlalchemy_cmk.testing.vaults import Vault

__all__ = ["KeyVaultEmulator", "Principal", "Vault"]

_HOMES = {"KeyVaultEmulator": "emulator", "Principal": "access", "Vault": "vaults"}


def __getattr__(name: str) -> object:
    # The pytest plugin is imported in every run, and most runs start no server.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
