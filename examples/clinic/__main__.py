"""Serve the example on loopback."""

import argparse
import logging
import socket

from werkzeug.serving import make_server

from examples.clinic.app import create_app
from examples.clinic.database import OldData

HOST = "127.0.0.1"


def free_port(wanted: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, wanted))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="examples.clinic", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="the port, another one if it is taken")
    parser.add_argument("--data", default=None, help="the data folder (default: $CLINIC_DATA or ./.demo)")
    options = parser.parse_args()
    # What migrations warn of, old values in backups say, is not so of a database that they have just made.
    logging.getLogger("sqlalchemy_cmk").setLevel(logging.ERROR)
    try:
        app = create_app(options.data)
    except OldData as error:
        parser.exit(1, f"{error}.\n")
    server = make_server(HOST, free_port(options.port), app, threaded=True)
    print(f"The clinic is open at http://{HOST}:{server.port}/  (Ctrl-C closes it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
