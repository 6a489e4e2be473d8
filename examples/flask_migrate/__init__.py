"""Flask-SQLAlchemy and Flask-Migrate with sealed columns."""
