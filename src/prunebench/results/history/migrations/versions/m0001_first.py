"""Hosts, runs, results, rounds and failures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _figure(name: str) -> list[sa.Column[float]]:
    """An estimate with the ends of its interval."""
    return [sa.Column(f"{name}{end}", sa.Double, nullable=False) for end in ("", "_low", "_high")]


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "fingerprint",
        sa.Column("digest", sa.String(12), nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_fingerprint"),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("experiment", sa.String(60), nullable=False),
        sa.Column("config_digest", sa.String(12), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fingerprint", sa.String(12), nullable=False),
        sa.Column("rounds", sa.Integer, nullable=False),
        sa.Column("stopped", sa.String(20), nullable=False),
        sa.Column("noise", sa.JSON, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.UniqueConstraint("key", name="uq_run_key"),
        sa.ForeignKeyConstraint(
            ["fingerprint"], ["fingerprint.digest"], name="fk_run_fingerprint_fingerprint"
        ),
    )
    for column in ("name", "experiment", "started_at", "fingerprint"):
        op.create_index(f"ix_run_{column}", "run", [column])
    op.create_table(
        "result",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("variant", sa.String(120), nullable=False),
        sa.Column("threads", sa.Integer, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("verdict", sa.String(20), nullable=True),
        sa.Column("onnx_sha256", sa.String(64), nullable=False),
        sa.Column("parameters", sa.Integer, nullable=True),
        sa.Column("size_mb", sa.Double, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        *_figure("map50"),
        *_figure("latency_ms"),
        *_figure("fps"),
        *_figure("efficiency"),
        sa.Column("level", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_result"),
        sa.UniqueConstraint("run_id", "variant", "threads", name="uq_result_run_id"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_result_run_id_run", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_result_variant", "result", ["variant"])
    op.create_table(
        "round",
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("variant", sa.String(120), nullable=False),
        sa.Column("threads", sa.Integer, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("model_ms", sa.Double, nullable=False),
        sa.Column("frame_ms", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "variant", "threads", "round", name="pk_round"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_round_run_id_run", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "failure",
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("variant", sa.String(120), nullable=False),
        sa.Column("step", sa.String(40), nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "variant", name="pk_failure"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_failure_run_id_run", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Back to an empty database."""
    for table in ("failure", "round", "result", "run", "fingerprint"):
        op.drop_table(table)
