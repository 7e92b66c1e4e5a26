"""Alembic's entry point: runs the revisions on the connection from relay.db.engine, inside its transaction."""

from __future__ import annotations

from alembic import context

from relay.db.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
