"""Which rows of a table a connection sees: whether all of them, and what a database's statistics say.

A count that misses rows is a license to destroy what they need. One module for each database.
"""

from sqlalchemy_cmk.databases.visibility.base import Visibility

__all__ = ["Visibility"]
