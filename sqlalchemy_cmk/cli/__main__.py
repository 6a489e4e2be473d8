"""``python -m sqlalchemy_cmk.cli``: the same as ``cmk``."""

from sqlalchemy_cmk.cli import main

if __name__ == "__main__":
    main()
