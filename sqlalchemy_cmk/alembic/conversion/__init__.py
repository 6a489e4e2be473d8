"""How a column is sealed or opened beside the application: expand, copy, swap."""
