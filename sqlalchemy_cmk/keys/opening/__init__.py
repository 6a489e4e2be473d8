"""How DEKs are made, opened by their KEK, cached for a bounded time and proven again."""
