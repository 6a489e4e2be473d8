"""FastAPI and SQLModel with sealed columns."""
