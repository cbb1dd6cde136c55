"""Alembic's entry: runs the migrations on the connection that `open_catalog` hands over."""

from alembic import context

from vitau.catalog.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
