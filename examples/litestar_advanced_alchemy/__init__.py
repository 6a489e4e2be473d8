"""Litestar and advanced-alchemy with sealed columns."""
