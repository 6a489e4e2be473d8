"""Carries out Key Vault's operations on keys, after the caller's permission was checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import rsa

from sqlalchemy_cmk.testing import errors, operations
from sqlalchemy_cmk.testing.bundles import bundle, deletion, item
from sqlalchemy_cmk.testing.limits import ServiceLimits
from sqlalchemy_cmk.testing.material import KeyTypes, Material, from_jwk, from_transfer_blob, make
from sqlalchemy_cmk.testing.messages import Answer, Request
from sqlalchemy_cmk.testing.routes import Route
from sqlalchemy_cmk.testing.store import KeyStore, KeyVersion

PAGE = 25


class KeyService:
    """The operations of one vault.

    Args:
        store: its keys.
        types: which key types it has.
    """

    def __init__(self, store: KeyStore, types: KeyTypes) -> None:
        self.store = store
        self.types = types
        self.limits: ServiceLimits | None = None
        self._handlers: dict[str, Callable[[Route, Request], Answer]] = {
            "create": self._create,
            "import": self._import,
            "get": lambda route, request: self._bundle(self.store.get(route.name, route.version)),
            "update": self._update,
            "list": self._list,
            "listVersions": self._list_versions,
            "delete": lambda route, request: self._deleted(self.store.delete(route.name).name),
            "getDeleted": lambda route, request: self._deleted(route.name),
            "listDeleted": self._list_deleted,
            "recover": lambda route, request: self._bundle(self.store.recover(route.name).newest()),
            "purge": self._purge,
            "rotate": lambda route, request: self._bundle(self.rotate(route.name)),
            "getRotationPolicy": self._policy,
            "setRotationPolicy": self._set_policy,
            "wrapKey": self._use,
            "unwrapKey": self._use,
            "encrypt": self._use,
            "decrypt": self._use,
            "sign": self._not_here,
            "verify": self._not_here,
        }

    def answer(self, route: Route, request: Request) -> Answer:
        """Carry out a request and return its answer."""
        if self.limits is not None:
            self.limits.spend(*self._weight(route, request))
        return self._handlers[route.operation](route, request)

    def make(self, name: str, kty: str, size: int | None, **state: Any) -> KeyVersion:
        """Make a key, or a new version of it."""
        self.store.check_name(name)
        material = make(self.types.check(kty), size)
        ops = list(state.get("key_ops") or [])
        if "import" in ops and (ops != ["import"] or kty != "RSA-HSM"):
            raise errors.bad_parameter("A key exchange key is an RSA-HSM key with 'import' alone in key_ops.")
        return self.add(name, material, **state)

    def add(
        self, name: str, material: Material, key_ops: Iterable[str] | None = None, **state: Any
    ) -> KeyVersion:
        """Add a version with given material."""
        return self.store.add(name, material, key_ops, **state)

    def rotate(self, name: str) -> KeyVersion:
        """Add a version of the newest one's kind; the rotation policy sets its expiry."""
        newest, policy = self.store.get(name), self.store.key(name).policy
        material = make(newest.kty, newest.material.size)
        expires = policy.expires(self.store.now())
        return self.add(name, material, newest.key_ops, expires=expires, tags=newest.tags)

    def _weight(self, route: Route, request: Request) -> tuple[str, int, bool]:
        if route.operation in ("create", "import"):
            body = _json(request)
            return str(body.get("kty")), body.get("key_size") or 2048, True
        try:
            material = self.store.get(route.name, route.version).material
        except errors.ServiceError:
            return "", 0, False
        return material.kty, material.size, route.operation == "rotate"

    def _create(self, route: Route, request: Request) -> Answer:
        body = _json(request)
        made = self.make(route.name, body.get("kty", ""), body.get("key_size"), **_state(body))
        return self._bundle(made)

    def _import(self, route: Route, request: Request) -> Answer:
        body = _json(request)
        jwk = body.get("key")
        if not isinstance(jwk, Mapping):
            raise errors.bad_parameter("Property 'key' is required.\r\n")
        self.store.check_name(route.name)
        brought = jwk.get("key_hsm") is not None
        asked = "RSA-HSM" if body.get("Hsm") and jwk.get("kty") == "RSA" else jwk.get("kty")
        kty = self.types.check(asked, brought)
        if brought:
            material = from_transfer_blob(jwk["key_hsm"], kty, jwk.get("crv"), self._exchange_key)
        else:
            material = from_jwk(jwk, kty)
        return self._bundle(self.add(route.name, material, **_state({**body, "key_ops": jwk.get("key_ops")})))

    def _exchange_key(self, kid: str) -> rsa.RSAPrivateKey:
        name, _, version = kid.removeprefix(f"{self.store.url}/keys/").partition("/")
        found = self.store.get(name, version)
        if found.kid != kid or not isinstance(found.material.secret, rsa.RSAPrivateKey):
            raise errors.bad_parameter(f"{kid} is not a key exchange key of this vault.")
        if found.key_ops != ["import"]:
            raise errors.operation_not_permitted("import")
        return found.material.secret

    def _update(self, route: Route, request: Request) -> Answer:
        changes = _state(_json(request))
        return self._bundle(self.store.change(route.name, route.version, **changes))

    def _list(self, route: Route, request: Request) -> Answer:
        return self._page(request, [item(self.store, key.newest(), False) for key in self.store.names()])

    def _list_versions(self, route: Route, request: Request) -> Answer:
        return self._page(request, [item(self.store, one, True) for one in self.store.versions(route.name)])

    def _list_deleted(self, route: Route, request: Request) -> Answer:
        keys = self.store.deleted_names()
        return self._page(
            request, [item(self.store, key.newest(), False) | deletion(self.store, key) for key in keys]
        )

    def _page(self, request: Request, items: list[dict[str, Any]]) -> Answer:
        size = _number(request.query.get("maxresults"), PAGE)
        start = _number(request.query.get("$skiptoken"), 0)
        if not 1 <= size <= PAGE:
            raise errors.bad_parameter(f"maxresults must be from 1 to {PAGE}.")
        link = None
        if start + size < len(items):
            query = {
                "api-version": request.query["api-version"],
                "$skiptoken": start + size,
                "maxresults": size,
            }
            link = f"{self.store.url}{request.path}?{urlencode(query)}"
        return Answer(200, {"value": items[start : start + size], "nextLink": link})

    def _deleted(self, name: str) -> Answer:
        key = self.store.deleted(name)
        return Answer(200, bundle(self.store, key.newest()) | deletion(self.store, key))

    def _purge(self, route: Route, request: Request) -> Answer:
        self.store.purge(route.name)
        return Answer(204)

    def _policy(self, route: Route, request: Request) -> Answer:
        key = self.store.key(route.name)
        return Answer(200, key.policy.shown(f"{self.store.url}/keys/{key.name}"))

    def _set_policy(self, route: Route, request: Request) -> Answer:
        self.store.key(route.name).policy.replace(_json(request), self.store.now())
        return self._policy(route, request)

    def _use(self, route: Route, request: Request) -> Answer:
        version = self.store.get(route.name, route.version)
        _check_usable(version, route.operation, self.store.now())
        hsm = self.types.managed_hsm
        return Answer(
            200,
            {"kid": version.kid, **operations.run(route.operation, version.material, _json(request), hsm)},
        )

    def _not_here(self, route: Route, request: Request) -> Answer:
        _check_usable(self.store.get(route.name, route.version), route.operation, self.store.now())
        raise errors.bad_parameter(f"The emulator does not {route.operation}.")

    def _bundle(self, version: KeyVersion) -> Answer:
        return Answer(200, bundle(self.store, version))


def _check_usable(version: KeyVersion, operation: str, now: float) -> None:
    if operation not in version.key_ops:
        raise errors.operation_not_permitted(operation)
    if operation in operations.OPENING:
        # Outside its dates a key still unwraps; a disabled one does not, although it still wraps.
        if not version.enabled:
            raise errors.key_disabled(operation)
        return
    if version.expires is not None and now >= version.expires:
        raise errors.key_expired(operation)
    if version.not_before is not None and now < version.not_before:
        raise errors.key_not_yet_valid(operation)


def _json(request: Request) -> dict[str, Any]:
    try:
        return request.json()
    except ValueError as error:
        raise errors.bad_parameter("The request body is not a JSON object.") from error


def _state(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("attributes") or {}
    for name, kind in (("enabled", bool), ("nbf", int), ("exp", int)):
        if given.get(name) is not None and not isinstance(given[name], kind):
            raise errors.bad_parameter(f"Property '{name}' has an invalid value.\r\n")
    return {
        "enabled": given.get("enabled"),
        "not_before": given.get("nbf"),
        "expires": given.get("exp"),
        "key_ops": body.get("key_ops"),
        "tags": body.get("tags"),
    }


def _number(text: str | None, default: int) -> int:
    try:
        return default if text is None else int(text)
    except ValueError as error:
        raise errors.bad_parameter(f"'{text}' is not a number.") from error
