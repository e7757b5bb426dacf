"""The main flow: baseline, pruned, retrained, exported, measured, ranked."""

from __future__ import annotations

from typing import Any

from prefect import allow_failure, flow
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, State

from flows.run_log import log_ranking, progress_logged
from flows.running import check_other_hosts
from prunebench.common.sole_user import sole_user
from prunebench.common.variant_record import Failure, VariantRecord
from prunebench.config.loading import Config
from prunebench.experiment.given_model import trained_on
from prunebench.experiment.inputs import output_folder
from prunebench.experiment.plan import PlannedVariant
from prunebench.experiment.prepare import was_checked
from prunebench.results.messages.catalogue import Messages
from prunebench.steps.child import ending_children
from prunebench.steps.events import stage
from tasks.crashed_runs import settle_last_run
from tasks.dask_cluster import steps_on_cluster
from tasks.devices import measure_on, measure_over_ssh, publish_devices
from tasks.parameters import confine
from tasks.publishing import publish, publish_latency
from tasks.runs import (
    diagnose,
    log,
    measure,
    measure_on_cores,
    prepare_experiment,
    push,
    rank_variants,
    record,
    run_in_runtimes,
)
from tasks.variants import evaluate, export, make, quantize, ship

Chain = dict[str, PrefectFuture[Any]]
"""The steps of a variant by their titles, in order."""


@flow(name="run-experiment", flow_run_name="{config.name}", persist_result=False)
def run_experiment(config: Config) -> State[Any]:
    """Compare the pruned and retrained variants of one model on this host's CPU.

    Args:
        config: The experiment, as in the YAML file.

    Returns:
        A completed state whose data is the run's folder and the ranking as plain values.
    """
    confine(config=config)
    devices = None if was_checked(config) else check_other_hosts(config)
    out = output_folder(config)
    with progress_logged(), sole_user(out), ending_children():
        settle_last_run(out)
        with trained_on(devices):
            experiment = prepare_experiment(config)
        plan = experiment.variants
        with steps_on_cluster(experiment):
            made: dict[tuple[str | None, int | None], PrefectFuture[Any]] = {}
            exported: dict[str, PrefectFuture[Any]] = {}
            done: dict[str, PrefectFuture[Any]] = {}
            finished: dict[str, Chain] = {}
            for planned in plan:
                name, chain = planned.name, finished.setdefault(planned.name, {})
                if planned.quantized and planned.parent is not None:
                    exported[name] = quantize.submit(experiment, planned, exported[planned.parent])
                    done[name] = evaluate.submit(experiment, exported[name])
                    chain |= {"quantize": exported[name], "accuracy": done[name]}
                    continue
                baseline = made.get(("baseline", None))
                rounds: list[Any] = [done[other] for other in planned.judged_by]
                if planned.control is not None:
                    # Whoever of the others failed, the rest need their control.
                    rounds = [allow_failure(future) for future in rounds]
                trained = []
                for one in planned.trainings:
                    seed, of_seed = one.seed, "" if one.seed is None else f", seed {one.seed}"
                    parent = made.get((one.parent, seed)) or made.get((one.parent, None))
                    made[name, seed] = make.submit(experiment, one, parent, baseline, rounds)
                    exported[name] = export.submit(experiment, made[name, seed])
                    done[name] = evaluate.submit(experiment, exported[name])
                    trained.append(done[name])
                    steps = {"make": made[name, seed], "export": exported[name]}
                    steps["accuracy"] = done[name]
                    chain |= {f"{step}{of_seed}": future for step, future in steps.items()}
                if planned.seeds:
                    chain["ship"] = ship.submit(experiment, planned, trained)
                    exported[name] = done[name] = chain["ship"]
            # Latency waits here until all training and export has ended.
            wait([future for chain in finished.values() for future in chain.values()])
        variants = [_collected(planned, finished[planned.name]) for planned in plan]
        if experiment.runtimes:
            run_in_runtimes(experiment, variants)
        latency = measure(experiment, variants)
        columns = [
            measure_on_cores(experiment, variants, cores) for cores in config.latency.cores[1:]
        ]
        diagnoses = diagnose(experiment, variants, latency)
        ranking = rank_variants(experiment, variants, latency, diagnoses)
        log_ranking(ranking)
        publish(experiment.folder, variants, ranking)
        publish_latency(ranking)
        # The ranking stands whatever becomes of these; both can be made up for later.
        kept = {"the history": record(experiment.history_url, experiment.folder, return_state=True)}
        if config.mlflow is not None:
            kept["MLflow"] = log(experiment.folder, config.mlflow, return_state=True)
        if config.store is not None:
            push(experiment.folder, config.store, config.store_cache_gb)
        if config.devices:
            asked = [
                (measure_over_ssh if name in config.over_ssh else measure_on).submit(
                    name, experiment.folder, config
                )
                for name in config.devices
            ]
            columns += [future.result() for future in asked]
        if columns:
            publish_devices(experiment.folder, ranking, columns)
    failed = [variant.name for variant in variants if variant.failure is not None]
    left_out = [variant.name for variant in variants if variant.not_trained is not None]
    ranked = len(variants) - len(failed) - len(left_out)
    message = f"{ranked} of {len(variants)} variants ranked"
    if left_out:
        message += f", not trained for want of a gain: {', '.join(left_out)}"
    if failed:
        message += f", failed: {', '.join(failed)}"
    for where, state in kept.items():
        if not state.is_completed():
            reason = state.result(raise_on_failure=False)
            message += f", not in {where}: {reason}"
            stage(f"the run is not in {where}: {reason}")
    plain = ranking.model_dump(mode="json")
    data = {"folder": experiment.folder, "failed": failed, "ranking": plain}
    return Completed(message=message, data=data)


def _collected(planned: PlannedVariant, chain: Chain) -> VariantRecord:
    """What the last finished step of a variant knows, with the first failure after it."""
    bare = VariantRecord(name=planned.name, parent=planned.parent, steps=planned.steps)
    record = bare
    for title, future in chain.items():
        state = future.state
        if not state.is_completed():
            reason = Messages()("reason.parent")
            if state.is_failed() or state.is_crashed():
                error = state.result(raise_on_failure=False)
                reason = getattr(error, "reason", None) or str(error)
            # Of several trainings none stands for the variant.
            known = bare if planned.seeds else record
            return known.model_copy(update={"failure": Failure(step=title, reason=reason)})
        record = state.result()
    return record
