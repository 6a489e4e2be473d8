"""Which engines a keyring serves, and which keyring serves a connection."""
