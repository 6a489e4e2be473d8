"""What a stolen table gives away through its search indexes, measured by attacking them.

``python -m benchmarks.leakage`` makes a table and takes away the key: the attacker has the tokens, and a
sample of the same population that is as large and has no person in common with it. It has seen no query. What
it guesses is compared with what it could guess without any token.
"""
