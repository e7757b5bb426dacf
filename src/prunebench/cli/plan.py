"""`prunebench plan`."""

from __future__ import annotations

from prunebench.cli.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    ModelOption,
    OutOption,
    OverridesArgument,
    app,
    config_from,
    show,
)


@app.command()
def plan(
    overrides: OverridesArgument = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    data: DataOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Resolve the configuration and list the variants and their steps; run nothing."""
    from prunebench.cli.views.plan import plan_view
    from prunebench.experiment.given_model import block_for_counts, given_request, plan_notes
    from prunebench.experiment.plan import checkpoint_named, plan_variants
    from prunebench.experiment.requirements import check_heads, require_checkpoint, with_metric
    from prunebench.experiment.there import look_there
    from prunebench.variants.given import open_given
    from prunebench.variants.pruning.alignment import block_for
    from prunebench.variants.rewriting.choice import passes_for

    resolved = config_from(config, {"model": model, "data": data, "out": out}, overrides)
    checkpoint = checkpoint_named(resolved.model, "model")
    if checkpoint is not None:
        require_checkpoint(checkpoint)
    there = look_there(resolved)
    block = block_for_counts(resolved, there)
    given = open_given(given_request(resolved, block))
    info = given.info
    resolved = with_metric(resolved, info.task)
    check_heads(resolved, info)
    variants = plan_variants(resolved, info.imgsz, info.stride)
    block = block or block_for(resolved.prune, resolved.latency, there)
    passes = passes_for(resolved.export, resolved.latency, resolved.image.hw, there)
    notes = plan_notes(resolved, variants, given, block, passes, there)
    found = {"recipe": given.recipe, "device": given.device, "batch": given.batch}
    found |= {"block": block, "passes": passes}
    view = plan_view(resolved, variants, notes)
    show({"config": resolved, "variants": variants, **found}, view, as_json=as_json)
