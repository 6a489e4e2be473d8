"""Runs ``cmk`` as ``python -m sqlalchemy_cmk.cli``."""

from sqlalchemy_cmk.cli import main

if __name__ == "__main__":
    main()
