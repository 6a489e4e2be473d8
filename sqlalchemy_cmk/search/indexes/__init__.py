"""The kinds of search indexes."""
