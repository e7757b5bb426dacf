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
    from prunebench.experiment.plan import checkpoint_named, class_notes, plan_variants
    from prunebench.experiment.prepare import given_request, require_checkpoint
    from prunebench.results.messages.catalogue import Messages
    from prunebench.results.messages.observations import tell_model
    from prunebench.variants.given import open_given

    resolved = config_from(config, {"model": model, "data": data, "out": out}, overrides)
    checkpoint = checkpoint_named(resolved.model, "model")
    if checkpoint is not None:
        require_checkpoint(checkpoint)
    given = open_given(given_request(resolved))
    info = given.info
    variants = plan_variants(resolved, info.imgsz, info.stride)
    notes = (*given.recipe.notes, *class_notes(resolved, info))
    if checkpoint is not None:
        notes = (tell_model(resolved.model, given.audit, Messages()), *notes)
    view = plan_view(resolved, variants, notes)
    show({"config": resolved, "variants": variants, "recipe": given.recipe}, view, as_json=as_json)
