"""What many tenants cost: ``python -m benchmarks.tenants`` runs each module's ``BENCHMARKS``."""
