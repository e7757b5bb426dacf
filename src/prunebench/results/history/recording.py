"""Put a finished run into the history store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from prunebench.common.records import Record
from prunebench.common.variant_record import VariantRecord
from prunebench.measuring.latency.raw import Sample
from prunebench.measuring.latency.records import LatencyResult
from prunebench.measuring.latency.stopping import round_medians
from prunebench.results.history.store import SQLITE, Store
from prunebench.results.history.tables import (
    FailureRow,
    FingerprintRow,
    ResultRow,
    RoundRow,
    RunRow,
)
from prunebench.results.outcome import (
    RunRanking,
    read_latency,
    read_outcome,
    read_ranked_variants,
    read_run_samples,
)
from prunebench.results.run_folder import fitting_together, read_environment, read_run_config


class Recorded(Record):
    """Where a run is in the history; ``new`` where it was added now, not earlier."""

    id: int
    name: str
    new: bool


def record_run(store: Store, folder: Path) -> Recorded:
    """Add a finished run: its host, its ranked figures, its rounds and its failures.

    All of it is one transaction. A run is known by its name and its raw samples, so recording
    it again adds nothing, and several processes may record at once.
    """
    with fitting_together(folder):
        return _record(store, folder)


def _record(store: Store, folder: Path) -> Recorded:
    outcome, latency = read_outcome(folder), read_latency(folder)
    samples = read_run_samples(folder, latency)
    config, variants = read_run_config(folder), read_ranked_variants(folder, outcome)
    environment = read_environment(folder)
    key = hashlib.sha256(f"{folder.name} {latency.samples.sha256}".encode()).hexdigest()
    with store.writing() as session:
        digest, fields = latency.fingerprint.digest(), latency.fingerprint.fields()
        _insert_unless_there(session, FingerprintRow, {"digest": digest, "fields": fields})
        new = _insert_unless_there(
            session,
            RunRow,
            {
                "key": key,
                "name": folder.name,
                "experiment": outcome.name,
                "config_digest": config.digest(),
                "started_at": datetime.fromtimestamp(min(s.started_s for s in samples), UTC),
                "fingerprint": digest,
                "rounds": latency.rounds,
                "stopped": latency.stopped,
                "noise": [asdict(one) for one in latency.noise],
                "versions": environment["versions"],
            },
        )
        number = session.scalars(select(RunRow.id).where(RunRow.key == key)).one()
        if new:
            session.add_all(_results(number, outcome, latency, variants))
            session.add_all(_rounds(number, samples))
            session.add_all(_failures(number, outcome))
    return Recorded(id=number, name=folder.name, new=new)


def _insert_unless_there(
    session: Session, table: type[FingerprintRow] | type[RunRow], values: dict[str, Any]
) -> bool:
    """Insert a row unless its key is taken; says whether it was inserted.

    A writer of the same key that has not committed yet is waited for.
    """
    is_sqlite = session.get_bind().dialect.name == SQLITE
    insert = sqlite.insert if is_sqlite else postgresql.insert
    first_key = next(iter(values))
    statement = insert(table).values(**values).on_conflict_do_nothing(index_elements=[first_key])
    returned = session.execute(statement.returning(getattr(table, first_key)))
    return returned.first() is not None


def _results(
    run_id: int,
    outcome: RunRanking,
    latency: LatencyResult,
    variants: Sequence[VariantRecord],
) -> Iterator[ResultRow]:
    known = {variant.name: variant for variant in variants}
    for ranking in outcome.rankings:
        for row in ranking.rows:
            audit, accuracy = known[row.name].audit, known[row.name].accuracy
            figures: dict[str, float] = {}
            for name in ("map50", "latency_ms", "fps", "efficiency"):
                interval = getattr(row, name)
                figures |= {name: interval.estimate, f"{name}_low": interval.low}
                figures[f"{name}_high"] = interval.high
            yield ResultRow(
                run_id=run_id,
                variant=row.name,
                threads=ranking.threads,
                rank=row.rank,
                verdict=row.verdict,
                onnx_sha256=latency.variants[row.name],
                parameters=audit.structure.parameters if audit else None,
                size_mb=row.size_mb,
                images=accuracy.images if accuracy else 0,
                trainings=row.trainings,
                level=ranking.level,
                **figures,
            )


def _rounds(run_id: int, samples: Sequence[Sample]) -> Iterator[RoundRow]:
    frames = round_medians(samples, "end_to_end")
    for (variant, threads), rounds in round_medians(samples, "model").items():
        for number, model_ms in rounds.items():
            yield RoundRow(
                run_id=run_id,
                variant=variant,
                threads=threads,
                round=number,
                model_ms=model_ms,
                frame_ms=frames.get((variant, threads), {}).get(number),
            )


def _failures(run_id: int, outcome: RunRanking) -> Iterator[FailureRow]:
    failed = {failure.name: failure for ranking in outcome.rankings for failure in ranking.failures}
    for name, failure in failed.items():
        yield FailureRow(run_id=run_id, variant=name, step=failure.step, reason=failure.reason)
