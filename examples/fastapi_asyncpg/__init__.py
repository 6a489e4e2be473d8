"""FastAPI, asyncio and asyncpg with sealed columns."""
