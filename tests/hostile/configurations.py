"""Values that no experiment can have."""

from __future__ import annotations

import shlex

from hostile_kit import Case

VALUES = {
    "image.height=3200000": "image.height: input should be less than or equal to 4096",
    "image.height=0": "image.height: input should be greater than 0",
    "export.opset=12": "export.opset: input should be greater than or equal to 13",
    "latency.threads=[]": "latency.threads: the list is empty",
    "latency.threads=[1, 1]": "latency.threads: 1 is given twice",
    "latency.threads=[100000]": "latency.threads.0: input should be less than or equal to 1024",
    "seed=100000000000000000000": "seed: input should be less than 2147483648",
    "seed=1.0e+20": "seed: unable to parse input string as an integer, exceeded maximum size",
    "controls=[int8, int8]": "controls: int8 is given twice",
    "devices=[a, a]": "devices: a is given twice",
    "prune.ignore=[model.0, model.0]": "prune.ignore: model.0 is given twice",
    "prune.target=1000x": "1000x is more than pruning gives, at most 100x",
    "retrain.epochs=1000000000": "retrain.epochs: input should be less than or equal to 10000",
    "latency.seconds=.inf": "latency.seconds: input should be a finite number",
    "latency.seconds=.nan": "latency.seconds: input should be a finite number",
    "retrain.max_minutes=.inf": "retrain.max_minutes: input should be a finite number",
    "retrain.strategies={standard: {lr0: .nan}}": "lr0: input should be a finite number",
    "quantize=int4": "quantize: other files than INT8 are not made: set it to int8",
    "quantize={variants: [baseline, baseline]}": "quantize.variants: baseline is given twice",
}

CASES = tuple(
    Case(value, lambda folder: None, f"plan --model best.pt {shlex.quote(value)}", 2, says)
    for value, says in VALUES.items()
)
