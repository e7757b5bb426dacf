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
    from prunebench.experiment.plan import checkpoint_named, plan_variants

    resolved = config_from(config, {"model": model, "data": data, "out": out}, overrides)
    checkpoint, trained_at = checkpoint_named(resolved.model, "model"), None
    if checkpoint is not None and checkpoint.is_file():
        from prunebench.variants.checkpoint import inspect_checkpoint

        trained_at = inspect_checkpoint(checkpoint).imgsz
    variants = plan_variants(resolved, trained_at)
    view = plan_view(resolved, variants)
    show({"config": resolved, "variants": variants}, view, as_json=as_json)
