"""A network's file loaded in one of several runtimes: one interface, a module for each.

A runtime's module imports its library, and is itself imported only where a file runs in it: the
measuring child, which a kit carries to a device, has numpy and one runtime in memory.
"""

from __future__ import annotations

import importlib

from prunebench.measuring.runtimes.loaded import Open

SUFFIX = {
    "openvino": ".onnx",
    "openvino-default": ".onnx",
    "openvino-nncf": ".openvino",
    "ncnn": ".ncnn",
    "mnn": ".mnn",
    "litert": ".tflite",
}
"""Every other runtime, by the name a configuration gives it, to what ends the name of its files.

``openvino`` computes in float32, as onnxruntime does, ``openvino-default`` in what OpenVINO chooses
on this CPU, which may be bfloat16; ``openvino-nncf`` what NNCF has quantized, the rest in float32.
"""


def opener(runtime: str | None) -> Open:
    """What loads a file in a runtime, ``None``: onnxruntime. Its library is imported here."""
    if runtime is None:
        from prunebench.measuring.runtimes.on_onnxruntime import InOnnxRuntime

        # The library is no part of what a file takes to load; session.py has to be imported before.
        importlib.import_module("onnxruntime")
        return InOnnxRuntime
    return other_opener(runtime)


def other_opener(runtime: str) -> Open:
    """As ``opener``, for a runtime of ``SUFFIX``; ImportError where it is not installed."""
    if runtime == "ncnn":
        from prunebench.measuring.runtimes.on_ncnn import InNcnn

        return lambda path, threads, settings, over: InNcnn(path, threads)
    if runtime == "mnn":
        from prunebench.measuring.runtimes.on_mnn import InMnn

        return lambda path, threads, settings, over: InMnn(path, threads)
    if runtime == "litert":
        from prunebench.measuring.runtimes.on_litert import InLiteRt

        return lambda path, threads, settings, over: InLiteRt(path, threads)
    from prunebench.measuring.runtimes.on_openvino import open_in_openvino

    precision = None if runtime.endswith("-default") else "f32"
    return lambda path, threads, settings, over: open_in_openvino(path, threads, precision)
