"""An emulated vault or Managed HSM: the object that a test uses, which also answers requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from sqlalchemy_cmk.testing import errors
from sqlalchemy_cmk.testing.access import ENCRYPTION_USER, Access, Principal
from sqlalchemy_cmk.testing.faults import Fault, Faults
from sqlalchemy_cmk.testing.limits import ServiceLimits
from sqlalchemy_cmk.testing.log import RequestLog, Seen
from sqlalchemy_cmk.testing.material import KeyTypes, checked
from sqlalchemy_cmk.testing.messages import Answer, Request
from sqlalchemy_cmk.testing.routes import Route, route
from sqlalchemy_cmk.testing.service import KeyService
from sqlalchemy_cmk.testing.site import Site
from sqlalchemy_cmk.testing.store import KeyStore, KeyVersion
from sqlalchemy_cmk.testing.tokens import TokenIssuer


@dataclass(frozen=True)
class VaultOptions:
    """The options of a vault.

    Attributes:
        managed_hsm: whether it is a Managed HSM.
        purge_protection: whether deleted keys can be purged before their retention is over.
        premium: whether a vault has keys in hardware.
        rbac: whether refusals are worded as for Azure's roles instead of an access policy.
    """

    managed_hsm: bool = False
    purge_protection: bool = False
    premium: bool = True
    rbac: bool = False


class Vault(Site):
    """An emulated vault. Its methods take effect at once, with the rights of the vault's owner.

    What the service would refuse raises a :class:`~sqlalchemy_cmk.testing.errors.ServiceError`.

    Attributes:
        name: its name; the address does not contain it.
        url: its address, for the SDK.
        resource: the audience of its tokens.
        managed_hsm: whether it is a Managed HSM.
        faults: the faults that its requests meet.
        requests: the requests that it has seen.
    """

    def __init__(
        self,
        name: str,
        url: str,
        options: VaultOptions,
        tokens: TokenIssuer,
        now: Callable[[], float],
        requests: RequestLog,
        faults: Faults,
    ) -> None:
        super().__init__(faults, requests)
        self.name = name
        self.url = url
        # The SDK requires the vault's host and port to end in ".RESOURCE": here, the last number of the
        # address.
        self.resource = f"https://{url.rpartition('.')[2]}"
        self.managed_hsm = options.managed_hsm
        self._tokens = tokens
        self._now = now
        self._access = Access(name, tokens.tenant_id, options.rbac)
        self._store = KeyStore(url, now, options.purge_protection)
        self._service = KeyService(self._store, KeyTypes(options.managed_hsm, options.premium))

    def __repr__(self) -> str:
        return f"<Vault {self.name} at {self.url}>"

    def key_uri(self, name: str, version: str | None = None) -> str:
        """Return a key's identifier; without a version it follows rotation."""
        return f"{self.url}/keys/{name}" + (f"/{version}" if version else "")

    def create_key(
        self,
        name: str,
        kty: str | None = None,
        size: int | None = None,
        *,
        enabled: bool | None = None,
        not_before: float | None = None,
        expires: float | None = None,
        key_ops: Iterable[str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> KeyVersion:
        """Make a key, or a new version of the key of that name.

        Args:
            name: the key's name.
            kty: ``RSA``, ``RSA-HSM`` or, on a Managed HSM, ``oct-HSM``; by default ``RSA`` in a vault and
                ``oct-HSM`` on a Managed HSM.
            size: its bits; by default 2048 for RSA and 256 for ``oct-HSM``.
            enabled: whether it is enabled.
            not_before: when it becomes valid, in seconds since 1970.
            expires: when it expires, in seconds since 1970.
            key_ops: the operations it may be used for; by default all.
            tags: its tags.
        """
        return self._service.make(
            name,
            kty or ("oct-HSM" if self.managed_hsm else "RSA"),
            size,
            enabled=enabled,
            not_before=not_before,
            expires=expires,
            key_ops=key_ops,
            tags=tags,
        )

    def import_key(self, name: str, key: rsa.RSAPrivateKey | bytes, **state: Any) -> KeyVersion:
        """Import a key that the test has made; the other arguments are those of :meth:`create_key`."""
        hardware = "-HSM" if self.managed_hsm else ""
        kty = "oct-HSM" if isinstance(key, bytes) else f"RSA{hardware}"
        return self._service.add(name, checked(self._service.types.check(kty), key), **state)

    def update_key(self, name: str, version: str | None = None, **changes: Any) -> KeyVersion:
        """Change a version's ``enabled``, ``not_before``, ``expires``, ``key_ops`` or ``tags``."""
        return self._store.change(name, version, **changes)

    def disable_key(self, name: str, version: str | None = None) -> None:
        """Disable a version, by default every version."""
        self._enable(name, version, False)

    def enable_key(self, name: str, version: str | None = None) -> None:
        """Enable a version, by default every version."""
        self._enable(name, version, True)

    def rotate_key(self, name: str) -> KeyVersion:
        """Make a new version of the newest one's kind."""
        return self._service.rotate(name)

    def delete_key(self, name: str) -> None:
        """Delete a key; it can be recovered."""
        self._store.delete(name)

    def recover_key(self, name: str) -> None:
        """Undo a deletion."""
        self._store.recover(name)

    def purge_key(self, name: str) -> None:
        """Purge a deleted key, unless purge protection forbids it."""
        self._store.purge(name)

    def versions(self, name: str) -> list[KeyVersion]:
        """Return a key's versions, the oldest first."""
        return list(self._store.key(name).versions.values())

    def grant(self, principal: Principal, permissions: Iterable[str] = ENCRYPTION_USER) -> None:
        """Grant a principal permissions, by default the three that an application needs to use a CMK."""
        self._access.grant(principal, permissions)

    def revoke(self, principal: Principal) -> None:
        """Take every permission away from a principal."""
        self._access.revoke(principal)

    def block(self, rule: str = "ForbiddenByFirewall") -> None:
        """Refuse every caller by a network rule: ``ForbiddenByFirewall`` or ``ForbiddenByConnection``."""
        self._access.block(rule)

    def unblock(self) -> None:
        """Lift the network rule."""
        self._access.block(None)

    def enforce_limits(self, scale: float = 1.0) -> None:
        """Answer 429 beyond Key Vault's published limits, multiplied by ``scale``; not on a Managed HSM."""
        if self.managed_hsm:
            raise ValueError("a Managed HSM is not throttled by transactions")
        self._service.limits = ServiceLimits(self._now, scale)

    def respond(self, request: Request) -> Answer:
        """Answer one request."""
        found = route(request.method, request.path)
        text = request.token()
        token = self._tokens.find(text, self.resource) if text else None
        principal = token.principal if token else None
        seen = Seen(
            vault=self.name,
            method=request.method,
            path=request.path,
            operation=found.operation,
            key=found.name or None,
            version=found.version,
            principal=principal.name if principal else None,
            status=None,
            request_id=request.request_id,
            user_agent=request.user_agent,
        )
        return self.note(seen, lambda: self._answer(found, request, principal))

    def refusal(self, fault: Fault) -> Answer:
        """Return the answer of an injected fault."""
        if fault.kind == "throttle":
            return errors.throttled(fault.seconds).answer()
        return errors.server_error(fault.status).answer()

    def _answer(self, found: Route, request: Request, principal: Principal | None) -> Answer:
        if principal is None:
            return self._challenge(request.token())
        return self.meet_faults(found.operation, lambda: self._work(found, request, principal))

    def _work(self, found: Route, request: Request, principal: Principal) -> Answer:
        try:
            if not request.query.get("api-version"):
                raise errors.bad_parameter("api-version must be specified")
            if not found.operation:
                raise errors.ServiceError(
                    404, "NotFound", f"There is no {request.method} {request.path} here."
                )
            self._access.check(principal, found.permission)
            return self._service.answer(found, request)
        except errors.ServiceError as error:
            return error.answer()

    def _challenge(self, token: str | None) -> Answer:
        message = "AKV10000: Request is missing a Bearer or PoP token."
        if token is not None:
            message = "[TokenExpired] Error validating token: it has expired, or is not for this resource."
        return errors.unauthorized(message, self._tokens.challenge(self.resource, token)).answer()

    def _enable(self, name: str, version: str | None, enabled: bool) -> None:
        for one in [version] if version else [each.version for each in self.versions(name)]:
            self._store.change(name, one, enabled=enabled)
