"""Alembic's environment: runs on the connection that ``Store`` opened and locked."""

from __future__ import annotations

from alembic import context

from prunebench.results.history.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
