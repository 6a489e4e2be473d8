"""The tests of sqlalchemy_cmk."""
