"""The owner of one server process.

It runs a server as a child and waits until its standard input closes, which happens however the process
that started it ends, a SIGKILL included. Then it stops the server and removes the server's folder. A server
that ends by itself ends the guardian too, and the folder with its log stays for the caller to read.

Usage: guardian.py FOLDER STOP_SIGNAL COMMAND...
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time

POLL_SECONDS = 0.2
STOP_SECONDS = 10


def start(folder: str, command: list[str]) -> subprocess.Popen[bytes]:
    """The server, in a session of its own, writing to the log in its folder."""
    with open(os.path.join(folder, "server.log"), "ab") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(server: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """End the server politely, then by SIGKILL what is left of its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def remove(folder: str) -> None:
    """Remove the folder, again as long as a dying process still writes into it."""
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.1)


def owner_is_gone() -> bool:
    """Whether standard input has closed, after waiting a moment for it."""
    return bool(select.select([sys.stdin], [], [], POLL_SECONDS)[0])


def end(*_: object) -> None:
    """Signal handler: leave through the ordinary cleaning up."""
    raise SystemExit(1)


def main(folder: str, stop_signal: str, *command: str) -> int:
    """Run the command until it ends or the owner goes away."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    server = start(folder, list(command))
    try:
        while not owner_is_gone():
            if server.poll() is not None:
                return 1
    except SystemExit:
        pass
    stop(server, signal.Signals[stop_signal])
    remove(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
