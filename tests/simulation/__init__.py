"""Deterministic simulation: interleavings of processes, faults and time, which a seed chooses and repeats.

One seed is one `World`: a real database, several `Process`es with the real code of the library, a vault and a
clock that are simulated. Every thread is a greenlet. It can be suspended where it meets the outside: at each
statement and commit (`wire`), each call of the vault, each lock and sleep of the library (`primitives`).
The `Scheduler` chooses who goes on. After each commit the `Invariants` look at what is stored.

`python -m tests.simulation --help` runs seeds.
"""
