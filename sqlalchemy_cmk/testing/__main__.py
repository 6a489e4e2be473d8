"""Runs an emulator in its own process: ``python -m sqlalchemy_cmk.testing --vault acme``.

Prints one line of JSON that says how to reach it, and runs until it is interrupted or terminated.
"""

from __future__ import annotations

import argparse
import json
import signal
from typing import Any

from sqlalchemy_cmk.testing.access import Principal
from sqlalchemy_cmk.testing.emulator import KeyVaultEmulator


def description(emulator: KeyVaultEmulator) -> dict[str, Any]:
    """Return what clients in other processes need to know."""
    url, token = emulator.control()
    return {
        "authority": emulator.authority,
        "tenant_id": emulator.tenant_id,
        "ca_file": str(emulator.ca_file),
        "vaults": {vault.name: vault.url for vault in emulator},
        "principals": {one.name: _log_in(one) for one in (emulator.app, emulator.admin)},
        "control": {"url": url, "token": token},
    }


def _log_in(principal: Principal) -> dict[str, str]:
    return {"client_id": principal.client_id, "client_secret": principal.secret}


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m sqlalchemy_cmk.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port; by default a free one")
    parser.add_argument("--vault", action="append", default=[], help="a vault to make; may be repeated")
    parser.add_argument("--managed-hsm", action="append", default=[], help="a Managed HSM to make")
    chosen = parser.parse_args()
    # Blocked before any thread starts, so that only the main thread receives them.
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with KeyVaultEmulator(port=chosen.port) as emulator:
        for name in chosen.vault:
            emulator.vault(name)
        for name in chosen.managed_hsm:
            emulator.managed_hsm(name)
        print(json.dumps(description(emulator)), flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
