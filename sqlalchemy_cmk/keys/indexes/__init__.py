"""Which search indexes a database has, and how far each has come: kept beside the key tables."""
