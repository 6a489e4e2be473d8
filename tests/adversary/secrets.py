"""What nobody outside may find: the DEKs, tokens and keys of a running application, and where to look."""

from sqlalchemy_cmk.providers import KeyProvider
from sqlalchemy_cmk.providers.base import Wrapped
from tests.adversary.conftest import RECORD_KEY
from tests.adversary.town import Row, Tenant, Town

Secrets = dict[str, str | bytes]


def unwrapped(provider: KeyProvider, wrapping: Row) -> bytes:
    """The DEK of a row of wrappings, unwrapped by its KEK."""
    row = {name: wrapping[name] for name in ("kek_uri", "kek_version", "algorithm")}
    return provider.unwrap(Wrapped(**row, data=bytes(wrapping["wrapped"]))).reveal()


def deks_of(town: Town, tenant: Tenant) -> set[bytes]:
    """A tenant's DEKs."""
    provider = town.operator.provider_of(tenant.kek_uri)
    return {unwrapped(provider, one) for one in town.wrappings(tenant)}


def secrets_of(town: Town, *tenants: Tenant) -> Secrets:
    """DEKs, the record key, the application's login and the tokens that it was given."""
    deks = {f"DEK of {one.name}, {n}": dek for one in tenants for n, dek in enumerate(deks_of(town, one))}
    tokens = {f"token {n}": one for n, one in enumerate(town.emulator.login.tokens._tokens)}
    assert deks and tokens
    return {
        **deks,
        **tokens,
        "record key": bytes.fromhex(RECORD_KEY),
        "login": town.emulator.app.secret,
    }


def dump(town: Town) -> str:
    """Every cell of every table, bytes in hexadecimal and as text."""
    said = []
    for table, rows in town.copy().items():
        said.append(table)
        for row in rows:
            for value in row.values():
                said.append(value.hex() if isinstance(value, bytes) else str(value))
                if isinstance(value, bytes):
                    said.append(value.decode("latin-1"))
    return "\n".join(said)
