"""PostgreSQL: updates from arrays, psycopg's binary forms, and dead rows that VACUUM takes away."""

from sqlalchemy_cmk.databases.postgresql.database import PostgreSQL

__all__ = ["PostgreSQL"]
