"""A control channel for an emulator in another process: JSON over HTTPS, protected by a secret token."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy_cmk.testing.errors import ServiceError
from sqlalchemy_cmk.testing.faults import Fault, Faults
from sqlalchemy_cmk.testing.log import RequestLog
from sqlalchemy_cmk.testing.messages import Answer, Request
from sqlalchemy_cmk.testing.site import Site
from sqlalchemy_cmk.testing.store import KeyVersion

if TYPE_CHECKING:
    from sqlalchemy_cmk.testing.emulator import KeyVaultEmulator

FAULTS = frozenset(
    f"faults.{name}"
    for name in (
        "delay",
        "throttle",
        "fail",
        "drop",
        "half_answer",
        "drip",
        "foreign_answer",
        "redirect",
        "down",
        "clear",
    )
)
ON_EMULATOR = frozenset(
    {"vault", "managed_hsm", "freeze", "advance", "resume", "now", "requests", "login.expire_tokens"}
)
ON_LOGIN = FAULTS | {"requests"}
ON_KEYS = {"create_key", "update_key", "disable_key", "enable_key", "rotate_key", "delete_key"}
ON_VAULT = (
    FAULTS
    | ON_KEYS
    | {"recover_key", "purge_key", "grant", "revoke", "block", "unblock", "enforce_limits", "requests"}
)


class Control(Site):
    """Calls methods of the emulator, of its token issuer and of its vaults.

    A request is ``POST /`` with ``Authorization: Bearer TOKEN`` and
    ``{"on": "acme", "call": "faults.throttle", "with": {"times": 3}}``. ``on`` is a vault's name, or
    ``"login"``, or missing for the emulator itself; ``requests`` returns the request log; principals are
    named ``"app"`` and ``"admin"``. The answer is ``{"result": ...}``, or 400 with ``{"error": "..."}``.
    """

    def __init__(self, emulator: KeyVaultEmulator, faults: Faults) -> None:
        super().__init__(faults, RequestLog())
        self.token = secrets.token_urlsafe(32)
        self._emulator = emulator

    def respond(self, request: Request) -> Answer:
        """Answer one request."""
        if not secrets.compare_digest(request.token() or "", self.token):
            return Answer(401, {"error": "the control token is missing or wrong"})
        try:
            order = request.json()
            result = self._call(order.get("on"), str(order.get("call")), dict(order.get("with") or {}))
        except (ServiceError, LookupError, TypeError, ValueError) as error:
            return Answer(400, {"error": f"{type(error).__name__}: {error}"})
        return Answer(200, {"result": _plain(result)})

    def refusal(self, fault: Fault) -> Answer:
        """Return the answer of a fault; the control channel never has one."""
        return Answer(fault.status)

    def _call(self, on: str | None, name: str, arguments: dict[str, Any]) -> object:
        target, allowed = self._target(on)
        if name not in allowed:
            raise LookupError(f"no such call: {name} (there are {', '.join(sorted(allowed))})")
        if name in ("grant", "revoke"):
            known = {"app": self._emulator.app, "admin": self._emulator.admin}
            arguments["principal"] = known[arguments["principal"]]
        for part in name.split("."):
            target = getattr(target, part)
        if isinstance(target, RequestLog):
            return [asdict(seen) for seen in target.matching(**arguments)]
        call: Callable[..., object] = target
        return call(**arguments)

    def _target(self, on: str | None) -> tuple[Any, frozenset[str]]:
        if on is None:
            return self._emulator, ON_EMULATOR
        if on == "login":
            return self._emulator.login, ON_LOGIN
        found = {vault.name: vault for vault in self._emulator}
        return found[on], ON_VAULT


def _plain(result: object) -> object:
    if isinstance(result, KeyVersion):
        return {"kid": result.kid, "version": result.version}
    if isinstance(result, Site):
        return {"url": getattr(result, "url", None)}
    return result
