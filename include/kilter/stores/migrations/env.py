"""Alembic's entry: runs the migrations on the connection that `Ledger.migrate` hands over."""

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from kilter.stores.ledger import metadata

VERSIONS = "ledger_version"
"""The table that says how far these migrations are."""
SHARED = "alembic_version"
"""What it was called before; Optuna, whose studies are in the same database, calls its own so and cannot be told otherwise."""


def carry_over(connection: Connection) -> None:
    """Take over how far the ledger is from where it was kept before, and leave that name to Optuna.

    Made anew instead of renamed: PostgreSQL keeps the names of a renamed table's constraints, which Optuna needs, too.
    """
    if not inspect(connection).has_table(SHARED):
        return
    before = MigrationContext.configure(connection).get_current_revision()
    if before not in {script.revision for script in context.script.walk_revisions()}:
        return
    now = MigrationContext.configure(connection, opts={"version_table": VERSIONS})
    if now.get_current_revision() is None:
        now.stamp(context.script, before)
    connection.execute(text(f"DROP TABLE {SHARED}"))


connection = context.config.attributes["connection"]
carry_over(connection)
context.configure(connection=connection, target_metadata=metadata, version_table=VERSIONS)
with context.begin_transaction():
    context.run_migrations()
