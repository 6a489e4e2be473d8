"""The table of sealed columns, and types as text."""
