"""Other libraries' ciphertext: what looks like it, and the type that opens it."""
