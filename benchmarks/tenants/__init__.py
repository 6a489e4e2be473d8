"""What many tenants cost."""
