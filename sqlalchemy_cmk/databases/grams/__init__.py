"""How each database stores the sets of tokens of an index ``NGram``, and finds the rows that have some."""
