"""What search indexes cost."""
