"""The audit trail of key events: its kinds of events, its hash chain, and the table that holds it."""
