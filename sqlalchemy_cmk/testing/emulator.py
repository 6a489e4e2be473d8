"""The emulator as a whole."""

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
from sqlalchemy_cmk.testing.log import RequestLog
from sqlalchemy_cmk.testing.login import Login
from sqlalchemy_cmk.testing.site import Site
from sqlalchemy_cmk.testing.tokens import TokenIssuer
from sqlalchemy_cmk.testing.vaults import Vault, VaultOptions

if TYPE_CHECKING:
    from azure.identity import ClientSecretCredential
    from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential

LOCALHOST = "127.0.0.1"


class KeyVaultEmulator:
    """A context manager that serves vaults, Managed HSMs and a token issuer over HTTPS on loopback.

    Each vault has an address of its own, ``https://127.0.1.1:PORT`` and so on, with one port for all: the
    whole of 127.0.0.0/8 is loopback, and no name has to be resolved. Where a system has only 127.0.0.1
    (macOS), each vault has a port of its own instead, and so needs a token of its own.

    Args:
        port: the port; by default a free one.
        token_lifetime: how long tokens are valid, in seconds of real time.
        one_address: whether to use ports instead of addresses; by default only where it has to be.

    Attributes:
        tenant_id: the directory's id.
        app: the principal of an application; new vaults grant it what the use of a CMK needs.
        admin: a principal that may do everything in every vault.
        requests: what every vault and the token issuer saw.
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
        """Start serving. An emulator is started once."""
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
        """Stop serving and remove the certificate. A forked child leaves that to its parent."""
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
        """The certificate of the emulator's authority, as PEM: the clients' ``connection_verify``."""
        return self._parts()[1].ca_file

    @property
    def authority(self) -> str:
        """The token issuer's address."""
        return self.login.tokens.authority

    @property
    def client_options(self) -> dict[str, Any]:
        """What an SDK client needs to know beside the vault's address and a credential."""
        return {"connection_verify": str(self.ca_file)}

    def vault(
        self, name: str, *, purge_protection: bool = False, premium: bool = True, rbac: bool = False
    ) -> Vault:
        """Return the vault of this name; at first use it is made, with these options."""
        return self._vault(name, VaultOptions(False, purge_protection, premium, rbac))

    def managed_hsm(self, name: str, *, purge_protection: bool = False, rbac: bool = True) -> Vault:
        """Return the Managed HSM of this name; at first use it is made, with these options."""
        return self._vault(name, VaultOptions(True, purge_protection, rbac=rbac))

    def principal(self, name: str) -> Principal:
        """Make another principal. It has no permission anywhere."""
        return self.login.tokens.register(Principal(name))

    def credential(
        self, principal: Principal | None = None, *, secret: str | None = None, **options: Any
    ) -> ClientSecretCredential:
        """Return a credential that logs in here.

        Args:
            principal: who logs in; by default :attr:`app`.
            secret: another secret than the principal's own, for a log-in that fails.
            options: further arguments of :class:`azure.identity.ClientSecretCredential`.
        """
        from azure.identity import ClientSecretCredential

        return ClientSecretCredential(**self._log_in(principal, secret), **options)

    def async_credential(
        self, principal: Principal | None = None, *, secret: str | None = None, **options: Any
    ) -> AsyncClientSecretCredential:
        """Return the same for :mod:`asyncio`."""
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
        """Put the clock forward. Tokens keep to real time, as their clients do."""
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
        return HttpsServer((host, port), self._parts()[1].context(host))

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
