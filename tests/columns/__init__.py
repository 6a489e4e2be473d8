"""What a sealed column is by itself."""
