"""A small clinic: two tenants, their patients, what the database sees. ``python -m examples.clinic``."""

from examples.clinic.app import create_app

__all__ = ["create_app"]
