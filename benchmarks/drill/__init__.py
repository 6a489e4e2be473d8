"""A revocation drill with real processes: gunicorn's workers, PostgreSQL, vaults, clients that never stop.

While the clients go on, access to some tenants' KEKs is taken away, the network to others breaks, others are
throttled, others rotated; then all is given back. ``python -m benchmarks.drill`` runs it and prints the
figures of ``docs/revocation.md``; ``tests/drill`` runs it and checks what the design promises.
"""
