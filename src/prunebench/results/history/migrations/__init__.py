"""Schema migrations of the history store, run by Alembic."""
