"""A soak: gunicorn's sync workers and uvicorn's, on one PostgreSQL, under faults, for as long as asked.

Every tenant has a vault of its own. Clients write, read, and list all tenants; they check each value and each
refusal. Meanwhile vaults are taken away, cut off and slowed down; workers are killed and servers reloaded.
Memory, files, threads and database sessions of each worker are watched. ``make soak`` runs it, prints
the figures of ``docs/soak.md``, and fails where something is out of bounds. For Linux.
"""
