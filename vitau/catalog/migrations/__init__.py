"""The schema migrations of the catalog, run by Alembic."""
