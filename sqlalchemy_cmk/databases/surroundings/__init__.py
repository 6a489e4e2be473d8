"""What stands around a table: the key by which its rows are found, and what keeps copies of their values.

One module for each database.
"""

from sqlalchemy_cmk.databases.surroundings.base import Surroundings

__all__ = ["Surroundings"]
