"""Hosts, runs, results, rounds and failures."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _needed(name: str, kind: Any, *more: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *more, nullable=False, **options)


def _figures(*names: str) -> list[sa.Column[Any]]:
    """Estimates, each with the ends of its interval."""
    return [_needed(f"{name}{end}", sa.Double) for name in names for end in ("", "_low", "_high")]


def _run_id(**options: Any) -> sa.Column[Any]:
    return _needed("run_id", sa.Integer, sa.ForeignKey("run.id", ondelete="CASCADE"), **options)


def upgrade() -> None:
    """To this revision; constraints and indexes are named by ``Base.metadata``'s convention."""
    op.create_table(
        "fingerprint",
        _needed("digest", sa.String(12), primary_key=True),
        _needed("fields", sa.JSON),
    )
    op.create_table(
        "run",
        _needed("id", sa.Integer, primary_key=True),
        _needed("key", sa.String(64), unique=True),
        _needed("name", sa.String(120), index=True),
        _needed("experiment", sa.String(60), index=True),
        _needed("config_digest", sa.String(12)),
        _needed("started_at", sa.DateTime(timezone=True), index=True),
        _needed("fingerprint", sa.String(12), sa.ForeignKey("fingerprint.digest"), index=True),
        _needed("rounds", sa.Integer),
        _needed("stopped", sa.String(20)),
        _needed("noise", sa.JSON),
        _needed("versions", sa.JSON),
    )
    op.create_table(
        "result",
        _needed("id", sa.Integer, primary_key=True),
        _run_id(),
        _needed("variant", sa.String(120), index=True),
        _needed("threads", sa.Integer),
        _needed("rank", sa.Integer),
        sa.Column("verdict", sa.String(20)),
        _needed("onnx_sha256", sa.String(64)),
        sa.Column("parameters", sa.Integer),
        _needed("size_mb", sa.Double),
        _needed("images", sa.Integer),
        *_figures("map50", "latency_ms", "fps", "efficiency"),
        _needed("level", sa.Double),
        sa.UniqueConstraint("run_id", "variant", "threads"),
    )
    op.create_table(
        "round",
        _run_id(primary_key=True),
        _needed("variant", sa.String(120), primary_key=True),
        _needed("threads", sa.Integer, primary_key=True),
        _needed("round", sa.Integer, primary_key=True),
        _needed("model_ms", sa.Double),
        sa.Column("frame_ms", sa.Double),
    )
    op.create_table(
        "failure",
        _run_id(primary_key=True),
        _needed("variant", sa.String(120), primary_key=True),
        _needed("step", sa.String(40)),
        _needed("reason", sa.String),
    )


def downgrade() -> None:
    """Back to an empty database."""
    for table in ("failure", "round", "result", "run", "fingerprint"):
        op.drop_table(table)
