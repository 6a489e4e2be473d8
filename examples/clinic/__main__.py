"""Serve the example on loopback."""

import argparse
import logging
import os
import socket
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from flask import Flask
from werkzeug.serving import BaseWSGIServer, make_server

from examples.clinic.app import application
from examples.clinic.clinics import CLINICS
from examples.clinic.storage import WITH_VAULT, OldData, Storage
from examples.portal.app import portal

HOST = "127.0.0.1"


def free_port(wanted: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, wanted))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def server_of(app: Flask, port: int) -> BaseWSGIServer:
    return make_server(HOST, free_port(port), app, threaded=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="examples.clinic", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="the port, another one if it is taken")
    parser.add_argument("--portal-port", type=int, default=5001, help="likewise, of the customers' portal")
    parser.add_argument("--data", default=None, help="the data folder (default: $CLINIC_DATA or ./.demo)")
    parser.add_argument(
        "--azure",
        action="store_true",
        help="vaults of the Key Vault emulator, in a folder for this time only",
    )
    options = parser.parse_args()
    for name in ("sqlalchemy_cmk", "werkzeug"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with ExitStack() as stack:
        try:
            storage = _storage(options, stack)
            app = application(storage)
        except OldData as error:
            parser.exit(1, f"{error}.\n")
        stack.callback(storage.close)
        serve(storage, app, portal(storage), options)


def _storage(options: argparse.Namespace, stack: ExitStack) -> Storage:
    if options.azure:
        from examples.portal.azure import emulated

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        titles = {name: CLINICS[name] for name in WITH_VAULT}
        return Storage(folder, vaults=stack.enter_context(emulated(titles)))
    if options.data is None:
        return Storage.from_environment()
    return Storage(Path(options.data), os.environ.get("CLINIC_DATABASE"))


def serve(storage: Storage, app: Flask, customers: Flask, options: argparse.Namespace) -> None:
    """Serve both applications until somebody presses Ctrl-C."""
    theirs = server_of(customers, options.portal_port)
    app.config["PORTAL"] = storage.announcements.portal = f"http://{HOST}:{theirs.server_port}/"
    server = server_of(app, options.port)
    threading.Thread(target=theirs.serve_forever, daemon=True).start()
    print(f"The clinic is open at http://{HOST}:{server.server_port}/  (Ctrl-C closes it)", flush=True)
    print(f"Its customers' vaults are at http://{HOST}:{theirs.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
