"""What a database's statistics say of a table, without reading it: how many rows, and when it was last used.

One module for each database.
"""

from sqlalchemy_cmk.databases.statistics.base import Activity, Amount, Known, Statistics

__all__ = ["Activity", "Amount", "Known", "Statistics"]
