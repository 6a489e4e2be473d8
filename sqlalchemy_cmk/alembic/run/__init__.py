"""What the operations do. Each module implements the operations of the same name in ``ops``."""
