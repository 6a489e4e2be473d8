"""AWS KMS as moto imitates it over HTTP, with what moto leaves out: states, policies, whose ciphertext it is.

moto wraps and unwraps by keys that are disabled or pending deletion, whatever their policies say, and answers
AccessDeniedException to each ciphertext that the named key has not made. The codes here are those of KMS's
API reference.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

REGION = "eu-central-1"
_REFUSED = {"Disabled": "DisabledException", "PendingDeletion": "KMSInvalidStateException"}
_ID_BYTES = 36

Environ = dict[str, Any]
Start = Callable[..., Any]


def keys() -> Any:
    """The keys of the server, as their owner sees them."""
    return get_backend("kms")[DEFAULT_ACCOUNT_ID][REGION]


class Kms:
    """The server.

    Attributes:
        url: its address.
        fault: the HTTP status and the code that every request is answered with; ``None`` for none.
        requests: the operations that were asked for.
        user_agents: how the clients named themselves, as CloudTrail would have it.
    """

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.fault: tuple[int, str] | None = None
        self.requests: list[str] = []
        self.user_agents: list[str] = []
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: Environ, start: Start) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        self.requests.append(operation)
        self.user_agents.append(environ.get("HTTP_USER_AGENT", ""))
        refused = self.fault or (operation in ("Encrypt", "Decrypt") and _refused(json.loads(body))) or None
        if refused is None:
            return self._moto(environ, start)  # type: ignore[no-any-return]
        status, code = refused
        start(f"{status} Refused", [("Content-Type", "application/x-amz-json-1.1")])
        return [json.dumps({"__type": code, "message": "refused"}).encode()]


def _refused(request: Environ) -> tuple[int, str] | None:
    store = keys()
    named = store.any_id_to_key_id(request["KeyId"])
    key = store.keys.get(named)
    if key is None:
        return None
    if key.key_state in _REFUSED:
        return 400, _REFUSED[key.key_state]
    if not _is_allowed(json.loads(key.policy), request.get("EncryptionContext", {})):
        return 400, "AccessDeniedException"
    if "CiphertextBlob" not in request:
        return None
    maker = base64.b64decode(request["CiphertextBlob"])[:_ID_BYTES].decode("ascii", "replace")
    if maker != named:
        return 400, "IncorrectKeyException" if maker in store.keys else "InvalidCiphertextException"
    return None


def _is_allowed(policy: Environ, context: Environ) -> bool:
    """Whether the policy allows it, as far as its conditions are about the encryption context."""
    conditions = [one["Condition"]["StringEquals"] for one in policy["Statement"] if "Condition" in one]
    begins = "kms:EncryptionContext:"
    fits = [
        all(
            context.get(name.removeprefix(begins)) in ([v] if isinstance(v, str) else v)
            for name, v in one.items()
        )
        for one in conditions
    ]
    return any(fits) or not fits


@contextmanager
def running() -> Iterator[Kms]:
    """A server of its own, without a key."""
    keys().reset()
    server = Kms()
    try:
        yield server
    finally:
        server.close()
        keys().reset()
