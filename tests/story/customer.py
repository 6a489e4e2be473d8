"""The customer's application: it owns a vault, and hears what the vendor's application announces."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from sqlalchemy_cmk import CmkError, verify_webhook
from sqlalchemy_cmk.testing import KeyVaultEmulator, Vault
from tests.support.processes import await_true


class Customer:
    """A customer with a vault of the emulator's and a receiver of webhooks on loopback, while it is entered.

    Attributes:
        vault: their vault.
        told: the events whose signatures were right, each once, in the order in which they came.
        refused: how many messages the vendor had not signed.
    """

    def __init__(self, emulator: KeyVaultEmulator, name: str, secret: str) -> None:
        self.vault: Vault = emulator.vault(name, purge_protection=True, rbac=True)
        self.secret = secret
        self.told: dict[str, dict[str, Any]] = {}
        self.refused = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/events"

    def hears(self, kind: str, times: int = 1) -> dict[str, Any]:
        """Wait until an event of this kind was told so many times, and return the last."""
        await_true(lambda: len(self._of(kind)) >= times)
        return self._of(kind)[-1]

    def _of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in list(self.told.values()) if one["type"].rpartition(".")[2] == kind]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        customer = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    event = verify_webhook(dict(self.headers), body, customer.secret)
                except CmkError:
                    customer.refused += 1
                    self.send_response(401)
                else:
                    customer.told[event["id"]] = event
                    self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Receiver
