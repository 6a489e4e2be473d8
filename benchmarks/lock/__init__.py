"""A lock under load, with real processes: gunicorn's workers, a re-key worker, PostgreSQL, vaults, clients.

While the clients go on, one tenant is locked, and unlocked again. ``python -m benchmarks.lock`` runs it and
prints the figures of ``docs/measured.md``; ``tests/drill/test_lock.py`` runs a small one.
"""
