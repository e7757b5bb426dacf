"""onnxruntime's session options, set here for every place that runs an ONNX file.

All run files as the section ``latency`` says, so that what is judged is what is deployed. Imports
onnxruntime alone, and late: the measuring child must stay small, the command line quick.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

    import onnxruntime as ort

    from prunebench.config.sections import LatencyConfig

# Its import would report to its makers, beside what is timed, and leave files in ~/.cache.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

GRAPH_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
ENTRIES = ("intra_op.allow_spinning", "inter_op.allow_spinning", "set_denormal_as_zero")
ENUMS = {"graph_optimization_level": "GraphOptimizationLevel", "execution_mode": "ExecutionMode"}

Options = Mapping[str, bool | int | str]
"""Options by onnxruntime's own names: entries of a session's configuration have a dot, attributes
of ``SessionOptions`` none; a member of an enumeration by its name."""


@dataclass(frozen=True)
class SessionSettings:
    """The session options of a configuration; ``LatencyConfig`` describes them."""

    graph_level: str
    execution_mode: str
    arena: bool
    flush_denormals: bool
    spinning: bool

    @classmethod
    def of(cls, config: LatencyConfig) -> Self:
        """Those that the section ``latency`` asks for."""
        return cls.among(vars(config))

    @classmethod
    def among(cls, settings: Mapping[str, Any]) -> Self:
        """Those among the settings of that section, by name."""
        return cls(**{field.name: settings[field.name] for field in fields(cls)})


def options_of(settings: SessionSettings, threads: int) -> dict[str, bool | int | str]:
    """Every option that is set here, all that change latency, by onnxruntime's own names."""
    values = (settings.spinning, settings.spinning, settings.flush_denormals)
    entries = {f"session.{key}": str(int(on)) for key, on in zip(ENTRIES, values, strict=True)}
    return {
        "intra_op_num_threads": threads,
        # onnxruntime falls back to sequential execution when parallel has one thread to share.
        "inter_op_num_threads": threads if settings.execution_mode == "parallel" else 1,
        "graph_optimization_level": GRAPH_LEVELS[settings.graph_level],
        "execution_mode": f"ORT_{settings.execution_mode.upper()}",
        "enable_cpu_mem_arena": settings.arena,
        **entries,
    }


def threads_here() -> int:
    """The threads that this child process was given."""
    return int(os.environ.get("PRUNEBENCH_CHILD_THREADS", "1"))


def session_options(
    settings: SessionSettings, threads: int | None = None, over: Options | None = None
) -> ort.SessionOptions:
    """onnxruntime's options, those of ``over`` first; ``None`` threads: this child's."""
    import onnxruntime as ort

    threads = threads_here() if threads is None else threads
    options = ort.SessionOptions()
    options.log_severity_level = 3
    for name, value in {**options_of(settings, threads), **(over or {})}.items():
        if "." in name:
            options.add_session_config_entry(name, str(value))
        elif name in ENUMS:
            setattr(options, name, getattr(getattr(ort, ENUMS[name]), str(value)))
        else:
            setattr(options, name, value)
    return options


def open_session(model: str | bytes, options: ort.SessionOptions) -> Any:
    """A session on this host's CPU, of a file's path or of its content."""
    import onnxruntime as ort

    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def options_in_force(session: ort.InferenceSession) -> dict[str, str]:
    """What the session itself says its options are."""
    import onnxruntime as ort

    options = session.get_session_options()
    return {
        "onnxruntime": ort.__version__,
        "providers": ",".join(session.get_providers()),
        "intra_op_num_threads": str(options.intra_op_num_threads),
        "inter_op_num_threads": str(options.inter_op_num_threads),
        "graph_optimization_level": options.graph_optimization_level.name,
        "execution_mode": options.execution_mode.name,
        "enable_cpu_mem_arena": str(options.enable_cpu_mem_arena),
        "enable_mem_pattern": str(options.enable_mem_pattern),
        **{key: options.get_session_config_entry(f"session.{key}") for key in ENTRIES},
    }
