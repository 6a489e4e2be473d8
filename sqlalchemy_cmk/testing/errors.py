"""The errors of Key Vault, with its codes and messages."""

from __future__ import annotations

from sqlalchemy_cmk.testing.messages import Answer


class ServiceError(Exception):
    """A request that is answered with an error.

    Args:
        status: the HTTP status.
        code: the error's ``code``.
        message: the error's ``message``.
        inner: the ``code`` of its ``innererror``.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        inner: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.inner = inner
        self.headers = headers or {}

    def answer(self) -> Answer:
        """Return the error as an answer."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return Answer(self.status, {"error": error}, self.headers)


def bad_parameter(message: str) -> ServiceError:
    """400: something in the request is wrong."""
    return ServiceError(400, "BadParameter", message)


def unauthorized(message: str, challenge: str) -> ServiceError:
    """401: no token, or one that is not valid here; ``challenge`` names where to get one."""
    return ServiceError(401, "Unauthorized", message, headers={"WWW-Authenticate": challenge})


def forbidden(message: str, inner: str | None) -> ServiceError:
    """403: the caller, or the key's state, does not allow it."""
    return ServiceError(403, "Forbidden", message, inner)


def key_disabled(operation: str) -> ServiceError:
    """403: the key is disabled."""
    return forbidden(f"Operation {operation} is not allowed on a disabled key.", "KeyDisabled")


def key_expired(operation: str) -> ServiceError:
    """403: the key has expired."""
    return forbidden(f"Operation {operation} is not allowed on an expired key.", "KeyExpired")


def key_not_yet_valid(operation: str) -> ServiceError:
    """403: the key is not valid yet."""
    return forbidden(f"Operation {operation} is not allowed on a not yet valid key.", "KeyNotYetValid")


def operation_not_permitted(operation: str) -> ServiceError:
    """403: the key's ``key_ops`` lack the operation."""
    return forbidden(f"Operation {operation} is not permitted on this key.", "KeyOperationForbidden")


def key_not_found(name: str) -> ServiceError:
    """404: no such key or version."""
    message = (
        f"A key with (name/id) {name} was not found in this key vault. If you recently deleted this key you "
        "may be able to recover it using the correct recovery command."
    )
    return ServiceError(404, "KeyNotFound", message)


def deleted_key_not_found(name: str) -> ServiceError:
    """404: no deleted key of that name."""
    return ServiceError(404, "KeyNotFound", f"Deleted Key not found: {name}")


def name_is_deleted(name: str) -> ServiceError:
    """409: a deleted key still holds the name."""
    message = (
        f"Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this "
        "state, the key can only be recovered or purged."
    )
    return ServiceError(409, "Conflict", message, "ObjectIsDeletedButRecoverable")


def throttled(retry_after: float | None) -> ServiceError:
    """429: too many requests, with a ``Retry-After`` if one is given."""
    message = "Request was not processed because too many requests were received. Reason: "
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return ServiceError(429, "Throttled", message + "VaultRequestTypeLimitReached", headers=headers)


def server_error(status: int) -> ServiceError:
    """5xx: the service itself has failed."""
    code = {500: "InternalServerError", 503: "ServiceUnavailable", 504: "GatewayTimeout"}.get(status, "Error")
    return ServiceError(status, code, "An error occurred on the server; please try again later.")
