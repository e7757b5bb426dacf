"""Tables of the history store. A change here needs a migration in ``migrations/versions``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, kept in UTC; SQLite, which has no time zones, gives it back with one as well."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of every table; constraints have names, so that migrations can refer to them."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double}
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class FingerprintRow(Base):
    """A host, as ``prunebench.measuring.host.fingerprint`` describes it."""

    __tablename__ = "fingerprint"

    digest: Mapped[str] = mapped_column(String(12), primary_key=True)
    fields: Mapped[dict[str, Any]] = mapped_column(JSON)


class RunRow(Base):
    """A finished run.

    ``key`` is a digest of its name and its raw samples: recording a run again adds nothing.
    """

    __tablename__ = "run"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(120), index=True)
    experiment: Mapped[str] = mapped_column(String(60), index=True)
    config_digest: Mapped[str] = mapped_column(String(12))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    fingerprint: Mapped[str] = mapped_column(ForeignKey("fingerprint.digest"), index=True)
    rounds: Mapped[int]
    stopped: Mapped[str] = mapped_column(String(20))
    noise: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    versions: Mapped[dict[str, str]] = mapped_column(JSON)


class ResultRow(Base):
    """A ranked variant at one thread count: what its row of the ranking said.

    ``trainings``: those whose mean its mAP50 is.
    """

    __tablename__ = "result"
    __table_args__ = (UniqueConstraint("run_id", "variant", "threads"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    variant: Mapped[str] = mapped_column(String(120), index=True)
    threads: Mapped[int]
    rank: Mapped[int]
    verdict: Mapped[str | None] = mapped_column(String(20))
    onnx_sha256: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[int | None]
    size_mb: Mapped[float]
    images: Mapped[int]
    trainings: Mapped[int]
    map50: Mapped[float]
    map50_low: Mapped[float]
    map50_high: Mapped[float]
    latency_ms: Mapped[float]
    latency_ms_low: Mapped[float]
    latency_ms_high: Mapped[float]
    fps: Mapped[float]
    fps_low: Mapped[float]
    fps_high: Mapped[float]
    efficiency: Mapped[float]
    efficiency_low: Mapped[float]
    efficiency_high: Mapped[float]
    level: Mapped[float]


class RoundRow(Base):
    """The medians of one round, in milliseconds; the sentinel's rounds are kept too."""

    __tablename__ = "round"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    variant: Mapped[str] = mapped_column(String(120), primary_key=True)
    threads: Mapped[int] = mapped_column(primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True)
    model_ms: Mapped[float]
    frame_ms: Mapped[float | None]


class FailureRow(Base):
    """A variant without figures, and why."""

    __tablename__ = "failure"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    variant: Mapped[str] = mapped_column(String(120), primary_key=True)
    step: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str]
