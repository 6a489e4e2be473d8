"""The key tables, and the keyring's own connections to the database that holds them."""
