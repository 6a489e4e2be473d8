"""Whose KEK may wrap whose DEKs: the application's own list, which no database row can change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from sqlalchemy_cmk.errors import ConfigurationError, KekNotAllowed
from sqlalchemy_cmk.runtime.blocking import off_the_loop
from sqlalchemy_cmk.runtime.kinds import Kind, several

KekAllowed = Callable[[str, str], bool]

_LABEL = re.compile(r"[a-z0-9-]+")
SERVES = several("a mapping from tenants to KEKs or hosts", str)
VAULTS = Kind((str, Mapping), "a mapping from tenants to KEKs or hosts, or a pattern")


class KekPolicy:
    """Lets each tenant be served by the vaults, or the KEKs, that the application names for it.

    Give it to ``Keyring(kek_allowed=...)``::

        KekPolicy({"acme": "acme.vault.azure.net"}, everyone=["local:pmk"])
        KekPolicy("kv-{tenant}.vault.azure.net", everyone=["local:pmk"])

    Args:
        vaults: by tenant, what may serve it: a vault's host name, or a KEK's whole URI, or several of them;
            or one pattern for every tenant, in which ``{tenant}`` stands for its name: small letters, digits
            and hyphens, as in a host name. A tenant of another name is served by ``everyone`` alone.
        everyone: the same for every tenant, the platform among them: at least the platform's KEK.

    Raises:
        ConfigurationError: an argument is of the wrong kind.
    """

    def __init__(
        self, vaults: Mapping[str, str | Iterable[str]] | str, *, everyone: Iterable[str] = ()
    ) -> None:
        VAULTS.require("vaults", vaults)
        if isinstance(everyone, str):
            raise ConfigurationError(f"everyone is a list of KEKs or hosts: give [{everyone!r}]")
        several("a list of KEKs or hosts").require("everyone", everyone)
        self._pattern = vaults if isinstance(vaults, str) else ""
        if self._pattern and "{tenant}" not in self._pattern:
            raise ConfigurationError("a pattern holds {tenant}: list what serves every tenant in everyone=")
        self._everyone = frozenset(everyone)
        self._vaults = {} if isinstance(vaults, str) else {name: _listed(one) for name, one in vaults.items()}

    def __call__(self, tenant: str, kek_uri: str) -> bool:
        """Return whether a KEK may wrap and unwrap a tenant's DEKs."""
        allowed = self._everyone | self._vaults.get(tenant, frozenset())
        # Another character could make another host of the pattern, and 'Acme' is not 'acme'.
        if self._pattern and _LABEL.fullmatch(tenant):
            allowed |= {self._pattern.replace("{tenant}", tenant)}
        return kek_uri in allowed or (kek_uri.startswith("https://") and _host(kek_uri) in allowed)


class PolicyCheck:
    """Asks ``kek_allowed`` before a KEK is used.

    Args:
        kek_allowed: returns whether a KEK may serve a tenant, given the tenant's name and the KEK's URI;
            ``None`` if every KEK may serve every tenant.
    """

    def __init__(self, kek_allowed: KekAllowed | None) -> None:
        self._kek_allowed = kek_allowed

    def require(self, tenant: str, kek_uri: str) -> None:
        """Refuse a KEK that may not serve a tenant.

        Raises:
            KekNotAllowed: the application does not allow it.
            ConfigurationError: its answer is not a bool.
        """
        allowed = self._kek_allowed
        if allowed is None:
            return
        answer = off_the_loop(lambda: allowed(tenant, kek_uri), place="policy")
        if not isinstance(answer, bool):
            # A coroutine of an async function would be true for everyone.
            raise ConfigurationError(f"kek_allowed returns a bool, not {type(answer).__name__}")
        if not answer:
            raise KekNotAllowed(
                f"the KEK {kek_uri!r} may not serve tenant {tenant!r}: kek_allowed refuses it; if the tenant "
                "has a new vault, add it there first, otherwise find out who changed the key tables"
            )


def _listed(one: str | Iterable[str]) -> frozenset[str]:
    given = (one,) if isinstance(one, str) else one
    SERVES.require("vaults", given)
    return frozenset(given)


def _host(kek_uri: str) -> str:
    try:
        return urlsplit(kek_uri).netloc
    except ValueError:
        return ""
