"""Finds what changed about sealed columns, and writes it into a migration."""
