"""A vault on each database, for models that a test declares itself."""

from tests.support.vault import make_vault, vault

__all__ = ["make_vault", "vault"]
