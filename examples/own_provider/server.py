"""A service with keys, as HashiCorp Vault's Transit engine answers: for the example and its tests only."""

import json
import os
from base64 import b64decode, b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class TransitServer:
    """Keys by name, each with its versions; those in ``revoked`` are refused."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.keys: dict[str, list[AESGCM]] = {}
        self.revoked: set[str] = set()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self.http.server_port

    def rotate(self, name: str) -> None:
        self.keys.setdefault(name, []).append(AESGCM(os.urandom(32)))

    def __enter__(self) -> Self:
        self.thread = Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, token: str | None, path: str, body: dict[str, str]) -> tuple[int, Any]:
        operation, name = path.removeprefix("/v1/transit/").split("/")
        if token != self.token:
            return 401, None
        if name in self.revoked or name not in self.keys:
            return 403, None
        versions = self.keys[name]
        if operation == "keys":
            return 200, {"latest_version": len(versions)}
        if operation == "encrypt":
            nonce = os.urandom(12)
            sealed = nonce + versions[-1].encrypt(nonce, b64decode(body["plaintext"]), None)
            return 200, {"ciphertext": f"vault:v{len(versions)}:{b64encode(sealed).decode()}"}
        _, version, text = body["ciphertext"].split(":")
        number, sealed = int(version[1:]), b64decode(text)
        if number > len(versions):
            return 404, None
        try:
            plain = versions[number - 1].decrypt(sealed[:12], sealed[12:], None)
        except (InvalidTag, ValueError):
            return 400, None
        return 200, {"plaintext": b64encode(plain).decode()}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, data = server.answer(self.headers["X-Vault-Token"], self.path, body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps({"data": data}).encode())

            def log_message(self, *_: object) -> None: ...

        return Handler
