"""How many trainings an accuracy is the mean of: one in every earlier run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    with op.batch_alter_table("result") as result:
        result.add_column(sa.Column("trainings", sa.Integer, nullable=False, server_default="1"))


def downgrade() -> None:
    """Back to the one before."""
    with op.batch_alter_table("result") as result:
        result.drop_column("trainings")
