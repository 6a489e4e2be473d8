"""The recipes for web frameworks, with the newest release of each."""
