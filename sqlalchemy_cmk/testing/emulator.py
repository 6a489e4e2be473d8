"""The emulator: its vaults, its token issuer, its clock and its servers. See :class:`KeyVaultEmulator`."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from sqlalchemy_cmk.errors import ConfigurationError
from sqlalchemy_cmk.testing.access import PERMISSIONS, Principal
from sqlalchemy_cmk.testing.certificates import Certificates
from sqlalchemy_cmk.testing.clock import Clock
from sqlalchemy_cmk.testing.control import Control
from sqlalchemy_cmk.testing.faults import Faults
from sqlalchemy_cmk.testing.https import Acceptor, HttpsServer
from sqlalchemy_cmk.testing.identity import IdentityEndpoint
from sqlalchemy_cmk.testing.log import RequestLog
from sqlalchemy_cmk.testing.login import Login
from sqlalchemy_cmk.testing.site import Site
from sqlalchemy_cmk.testing.tokens import TokenIssuer
from sqlalchemy_cmk.testing.vaults import Vault, VaultOptions

if TYPE_CHECKING:
    from azure.identity import ClientSecretCredential
    from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential

LOCALHOST = "127.0.0.1"

# The SDK remembers for the life of the process who issues the tokens of a host and port: a free port is
# given to one emulator only.
_ports_used: set[int] = set()


class KeyVaultEmulator:
    """A context manager that serves vaults, Managed HSMs and a token issuer over HTTPS on loopback.

    Each vault has its own address, ``https://127.0.1.1:PORT`` and so on, and all share one port: all of
    127.0.0.0/8 is loopback, and no name has to be resolved. On systems that have only 127.0.0.1 (macOS) each
    vault has its own port instead, and so needs its own token.

    Args:
        port: the port; by default a free one.
        token_lifetime: how long tokens are valid, in seconds of real time.
        one_address: whether vaults differ by port and not by address; by default only where that is
            necessary.

    Attributes:
        tenant_id: the directory's id.
        app: the principal of an application; new vaults grant it the permissions to use a CMK.
        admin: a principal that has every permission in every vault.
        requests: the requests to every vault and to the token issuer.
        login: the token issuer: its ``faults``, and ``expire_tokens()``.
    """

    login: Login

    def __init__(self, *, port: int = 0, token_lifetime: int = 3599, one_address: bool | None = None) -> None:
        self.tenant_id = str(uuid4())
        self.app = Principal("app")
        self.admin = Principal("admin")
        self.requests = RequestLog()
        self._port = port
        self._token_lifetime = token_lifetime
        self._one_address = one_address
        self._clock = Clock()
        self._lock = threading.RLock()
        self._vaults: dict[str, Vault] = {}
        self._sites: list[Site] = []
        self._started = False
        self._pid = os.getpid()
        self._running: tuple[Acceptor, Certificates] | None = None

    def start(self) -> Self:
        """Start serving. An emulator can be started once."""
        with self._lock:
            if self._started:
                raise ConfigurationError("this emulator has been started before: make a new one")
            self._started, self._pid = True, os.getpid()
            certificates = Certificates()
            self._running = Acceptor(), certificates
            atexit.register(self.stop)
            self._running[0].start()
            try:
                self._serve_login()
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """Stop serving and remove the certificate; does nothing in a forked child."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._running is None:
                return
            (acceptor, certificates), self._running = self._running, None
        atexit.unregister(self.stop)
        for site in self._sites:
            site.stopping.set()
        acceptor.stop()
        certificates.remove()

    @property
    def ca_file(self) -> Path:
        """The certificate of the emulator's authority as PEM, for the clients' ``connection_verify``."""
        return self._parts()[1].ca_file

    @property
    def authority(self) -> str:
        """The token issuer's address."""
        return self.login.tokens.authority

    @property
    def client_options(self) -> dict[str, Any]:
        """Arguments that an SDK client needs in addition to the vault's address and a credential."""
        return {"connection_verify": str(self.ca_file)}

    @property
    def trusted_hosts(self) -> list[str]:
        """The host and port of each vault that has been made so far, for ``AzureKeyVaultProvider``."""
        return [vault.url.removeprefix("https://") for vault in self]

    def vault(
        self, name: str, *, purge_protection: bool = False, premium: bool = True, rbac: bool = False
    ) -> Vault:
        """Return the vault of this name; the first call makes it, with these options."""
        return self._vault(name, VaultOptions(False, purge_protection, premium, rbac))

    def managed_hsm(self, name: str, *, purge_protection: bool = False, rbac: bool = True) -> Vault:
        """Return the Managed HSM of this name; the first call makes it, with these options."""
        return self._vault(name, VaultOptions(True, purge_protection, rbac=rbac))

    def principal(self, name: str, client_id: str | None = None) -> Principal:
        """Make another principal, without any permission; by its client id, an application of elsewhere."""
        made = Principal(name) if client_id is None else Principal(name, client_id)
        return self.login.tokens.register(made)

    def managed_identity(self, identity: Principal) -> dict[str, str]:
        """Serve an identity's tokens; return the environment by which the SDK finds them."""
        server = self._server(LOCALHOST, 0)
        log = RequestLog(self.requests)
        endpoint = IdentityEndpoint(self.login.tokens, identity, log, self._faults(server))
        self._serve(server, endpoint)
        url = f"https://{LOCALHOST}:{server.server_port}/msi/token"
        return {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": endpoint.header}

    def credential(
        self, principal: Principal | None = None, *, secret: str | None = None, **options: Any
    ) -> ClientSecretCredential:
        """Return a credential that logs in here.

        Args:
            principal: the principal that logs in; by default :attr:`app`.
            secret: a secret in place of the principal's own, for a log-in that fails.
            options: further arguments of :class:`azure.identity.ClientSecretCredential`.
        """
        from azure.identity import ClientSecretCredential

        return ClientSecretCredential(**self._log_in(principal, secret), **options)

    def async_credential(
        self, principal: Principal | None = None, *, secret: str | None = None, **options: Any
    ) -> AsyncClientSecretCredential:
        """Return a credential for :mod:`asyncio`; see :meth:`credential`."""
        from azure.identity.aio import ClientSecretCredential

        return ClientSecretCredential(**self._log_in(principal, secret), **options)

    def control(self) -> tuple[str, str]:
        """Open a control channel for other processes; return its address and its token."""
        server = self._server(LOCALHOST, 0)
        channel = Control(self, self._faults(server))
        self._serve(server, channel)
        return f"https://{LOCALHOST}:{server.server_port}", channel.token

    def freeze(self, at: float | None = None) -> None:
        """Stop the clock by which keys expire, at ``at`` if that is given."""
        self._clock.freeze(at)

    def advance(self, seconds: float) -> None:
        """Move the clock forward. Tokens still expire by real time."""
        self._clock.advance(seconds)

    def resume(self) -> None:
        """Let the clock run again."""
        self._clock.resume()

    def now(self) -> float:
        """Return the clock's time, in seconds since 1970."""
        return self._clock.now()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Vault]:
        return iter(tuple(self._vaults.values()))

    def _parts(self) -> tuple[Acceptor, Certificates]:
        if self._running is None:
            raise ConfigurationError("the emulator is not running: call start(), or use it in a with block")
        return self._running

    def _serve_login(self) -> None:
        server = self._server(LOCALHOST, self._port)
        self._port = server.server_port
        if self._one_address is None:
            self._one_address = not self._has_addresses()
        authority = f"https://{LOCALHOST}:{self._port}"
        tokens = TokenIssuer(authority, self.tenant_id, self._token_lifetime)
        tokens.register(self.app)
        tokens.register(self.admin)
        self.login = Login(tokens, RequestLog(self.requests), self._faults(server))
        self._serve(server, self.login)

    def _vault(self, name: str, options: VaultOptions) -> Vault:
        with self._lock:
            found = self._vaults.get(name)
            if found is None:
                found = self._vaults[name] = self._make_vault(name, options)
        if found.managed_hsm != options.managed_hsm:
            raise ValueError(f"{name} is {'a Managed HSM' if found.managed_hsm else 'a vault'}")
        return found

    def _make_vault(self, name: str, options: VaultOptions) -> Vault:
        number = len(self._vaults)
        if self._one_address:
            server = self._server(LOCALHOST, 0)
        else:
            server = self._server(f"127.{number // 255}.{number % 255 + 1}.1", self._port)
        url = f"https://{server.server_name}:{server.server_port}"
        log = RequestLog(self.requests)
        vault = Vault(name, url, options, self.login.tokens, self._clock.now, log, self._faults(server))
        vault.grant(self.app)
        vault.grant(self.admin, PERMISSIONS)
        self._serve(server, vault)
        return vault

    def _server(self, host: str, port: int) -> HttpsServer:
        server = HttpsServer((host, port), self._parts()[1].context(host))
        if port == 0 and server.server_port in _ports_used:
            try:
                return self._server(host, port)
            finally:
                server.server_close()
        _ports_used.add(server.server_port)
        return server

    def _faults(self, server: HttpsServer) -> Faults:
        return Faults(partial(self._parts()[0].listen, server))

    def _serve(self, server: HttpsServer, site: Site) -> None:
        server.site = site
        self._sites.append(site)
        self._parts()[0].add(server)

    def _has_addresses(self) -> bool:
        try:
            self._server("127.0.1.1", self._port).server_close()
        except OSError:
            return False
        return True

    def _log_in(self, principal: Principal | None, secret: str | None) -> dict[str, Any]:
        who = principal or self.app
        return {
            "tenant_id": self.tenant_id,
            "client_id": who.client_id,
            "client_secret": secret or who.secret,
            "authority": self.authority,
            "disable_instance_discovery": True,
            **self.client_options,
        }
