"""Conversions: a column is sealed or opened while the application runs, by expand, copy and swap."""
