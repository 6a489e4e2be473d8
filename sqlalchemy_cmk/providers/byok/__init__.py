"""Bring your own key: a key made elsewhere is wrapped for a vault and imported there, never in the clear.

Source: learn.microsoft.com/azure/key-vault/keys/byok-specification. Microsoft calls the RSA key for which the
customer's key is wrapped the Key Exchange Key (KEK). It wraps one key once, and is not the KEK that wraps
DEKs: that is what the *target key* becomes. In this package it is the *exchange key*.

- :mod:`~sqlalchemy_cmk.providers.byok.exchange`: the exchange key, and the checks that a key can be one.
- :mod:`~sqlalchemy_cmk.providers.byok.blob`: the transfer blob.
- :mod:`~sqlalchemy_cmk.providers.byok.target`: a target key from a file, for a rehearsal.
- :mod:`~sqlalchemy_cmk.providers.byok.token`: a target key in a PKCS#11 token, which does not leave it.
- :mod:`~sqlalchemy_cmk.providers.byok.vault`: the vault's side, through Microsoft's SDK.

Python cannot wipe memory: a target key that was read from a file stays in the process's memory until it ends,
and perhaps in swap. Make a key for production in an HSM.
"""

from sqlalchemy_cmk.providers.byok.blob import TransferBlob
from sqlalchemy_cmk.providers.byok.exchange import ExchangeKey
from sqlalchemy_cmk.providers.byok.target import TargetKey

__all__ = ["ExchangeKey", "TargetKey", "TransferBlob"]
