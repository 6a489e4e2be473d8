"""``cmk byok``: brings a key that was made elsewhere into a vault. It needs no keyring."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sqlalchemy_cmk.cli.options import as_json, print_result
from sqlalchemy_cmk.errors import ConfigurationError, KeyUnavailable
from sqlalchemy_cmk.providers.byok.blob import TransferBlob, generator
from sqlalchemy_cmk.providers.byok.exchange import ExchangeKey, identifier, new_key
from sqlalchemy_cmk.providers.byok.target import CURVES, TargetKey
from sqlalchemy_cmk.runtime.printable import printable

if TYPE_CHECKING:
    from sqlalchemy_cmk.providers.azure.identifiers import KeyIdentifier
    from sqlalchemy_cmk.providers.byok.token import TokenKey
    from sqlalchemy_cmk.providers.byok.vault import ByokVault

OPERATIONS = {
    "RSA-HSM": ("wrapKey", "unwrapKey"),
    "oct-HSM": ("wrapKey", "unwrapKey"),
    "EC-HSM": ("sign", "verify"),
}

a_file = click.Path(dir_okay=False, path_type=Path)
trusted_host = click.option(
    "--trusted-host",
    "trusted_hosts",
    metavar="HOST:PORT",
    multiple=True,
    help="A vault that is none of Azure's: an emulator.",
)


@click.group()
def byok() -> None:
    """Bring a key that was made elsewhere into a vault.

    Needs no keyring. See docs/byok.md.
    """


@byok.command()
@click.argument("blob", type=a_file)
@click.option("--exchange-key", type=a_file, help="The exchange key's public key, as JWK or PEM.")
@click.option(
    "--kid",
    metavar="KID",
    help="Its identifier with its version; without --exchange-key the vault is asked for the key.",
)
@click.option(
    "--token-key", metavar="URI", help="The key to bring, in a token: pkcs11:token=NAME;object=LABEL."
)
@click.option("--module", metavar="PATH", help="The token's PKCS#11 module; by default the profile's.")
@click.option("--profile", metavar="NAME", default="generic", help="The token's make: luna7, for example.")
@click.option(
    "--pin", metavar="SOURCE", help="The source of its PIN: env:NAME or file:PATH; without it cmk prompts."
)
@click.option("--key-file", type=a_file, help="The key to bring, in a private file: for a rehearsal.")
@click.option("--symmetric", is_flag=True, help="The file holds the raw bytes of a symmetric key.")
@trusted_host
@as_json
def make(
    blob: Path,
    exchange_key: Path | None,
    kid: str | None,
    token_key: str | None,
    module: str | None,
    profile: str,
    pin: str | None,
    key_file: Path | None,
    symmetric: bool,
    trusted_hosts: tuple[str, ...],
    as_json: bool,
) -> None:
    """Wrap a key for a vault's exchange key, into the new file BLOB.

    Nothing in the blob is secret. Note the thumbprint: import shows it again. Make sure that the exchange key
    is the vault's: its private key opens the blob.

    \b
    Examples:
      cmk byok make clinic.byok \\
          --kid https://acme.vault.azure.net/keys/exchange/VERSION \\
          --token-key "pkcs11:token=acme;object=clinic-kek" --pin env:PIN
    """
    exchange = _exchange_key(exchange_key, kid, trusted_hosts)
    if (token_key is None) == (key_file is None):
        raise click.UsageError("Give the key to bring: --token-key, or --key-file for a rehearsal.")
    if key_file is not None:
        target = TargetKey.read(key_file, symmetric, lambda: _secret("The key file's passphrase"))
        made = TransferBlob(exchange.kid, exchange.wrap(target.plaintext), generator("a key file"))
        kty, thumbprint = target.kty, target.thumbprint
    else:
        with _token_key(module, str(token_key), pin, profile) as held:
            made, kty, thumbprint = held.wrap(exchange), held.kty, held.thumbprint
    _write(blob, made.dump())
    result = {
        "blob": str(blob),
        "kty": kty,
        "thumbprint": thumbprint,
        "kid": made.kid,
        "exchange_thumbprint": exchange.thumbprint,
    }
    print_result(
        as_json,
        result,
        f"{printable(str(blob))} holds a key of type {kty}{_shown(thumbprint)}",
        f"wrapped for {printable(made.kid)}{_shown(exchange.thumbprint)}",
    )


@byok.command("import")
@click.argument("kek_uri")
@click.argument("blob", type=a_file)
@click.option("--kty", type=click.Choice(list(OPERATIONS)), default="RSA-HSM", show_default=True)
@click.option("--curve", type=click.Choice(list(CURVES.values())), help="The curve of an EC-HSM key.")
@click.option(
    "--ops", metavar="LIST", help="Its operations; default: wrapKey,unwrapKey, for EC-HSM sign,verify."
)
@trusted_host
@as_json
def import_(
    kek_uri: str,
    blob: Path,
    kty: str,
    curve: str | None,
    ops: str | None,
    trusted_hosts: tuple[str, ...],
    as_json: bool,
) -> None:
    """Import the file BLOB as the key KEK_URI, https://VAULT/keys/NAME.

    The exchange key has to be in the same vault. Signs in as DefaultAzureCredential does.

    \b
    Examples:
      cmk byok import https://acme.vault.azure.net/keys/clinic-kek clinic.byok
    """
    if (curve is None) == (kty == "EC-HSM"):
        raise click.UsageError("Give --curve with --kty EC-HSM, and with no other.")
    key = new_key(kek_uri)
    operations = ops.split(",") if ops else OPERATIONS[kty]
    with _vault(key, trusted_hosts) as vault:
        made = vault.import_key(key.name, _read(blob), kty, operations, curve)
    result = {"kek_uri": kek_uri, "kid": made.kid, "kty": made.kty, "thumbprint": made.thumbprint}
    print_result(
        as_json, result, f"{printable(made.kid)} is a key of type {made.kty}{_shown(made.thumbprint)}"
    )


def _exchange_key(path: Path | None, kid: str | None, trusted_hosts: tuple[str, ...]) -> ExchangeKey:
    if path is not None:
        return ExchangeKey.read(path, kid)
    if kid is None:
        raise click.UsageError("Give the exchange key: --exchange-key FILE, or --kid to ask its vault.")
    with _vault(identifier(kid), trusted_hosts) as vault:
        return vault.exchange_key(kid)


def _vault(key: KeyIdentifier, trusted_hosts: tuple[str, ...]) -> ByokVault:
    try:
        from azure.identity import DefaultAzureCredential

        from sqlalchemy_cmk.providers.byok.vault import ByokVault
    except ModuleNotFoundError as error:
        raise _missing(error, "azure") from None
    # Azure's instance discovery does not know an authority other than Azure's own.
    elsewhere = "AZURE_AUTHORITY_HOST" in os.environ
    return ByokVault(key, DefaultAzureCredential(disable_instance_discovery=elsewhere), trusted_hosts)


def _token_key(
    module: str | None, uri: str, pin: str | None, profile: str
) -> AbstractContextManager[TokenKey]:
    try:
        from sqlalchemy_cmk.providers.byok.token import open_key
    except ModuleNotFoundError as error:
        raise _missing(error, "pkcs11") from None
    return open_key(module, uri, pin or (lambda label: _secret(f"PIN of the token {label}")), profile)


def _missing(error: ModuleNotFoundError, extra: str) -> ConfigurationError:
    return ConfigurationError(f"this needs {error.name}: pip install 'sqlalchemy-cmk[{extra}]'")


def _secret(question: str) -> str:
    return str(click.prompt(question, hide_input=True, err=True))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {path}") from None
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be read: {error.strerror}") from None


def _write(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already: name a new file, it is not overwritten") from None
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be written: {error.strerror}") from None


def _shown(thumbprint: str | None) -> str:
    return "" if thumbprint is None else f", thumbprint {thumbprint}"
