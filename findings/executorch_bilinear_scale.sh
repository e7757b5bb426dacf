#!/usr/bin/env bash
# Question: does ExecuTorch's XNNPACK backend keep a bilinear F.interpolate(scale_factor=1.5)?
# Guess: yes, or the partitioner leaves to the portable kernels what XNNPACK cannot do.
# Seen: it hands it over with the size only. Where that was rounded (13 x 1.5 are 19 rows) XNNPACK computes another scale
#   from it, 19 / 13: every sampling place moves, up to a row at the far end. The portable kernels are right, and so is
#   XNNPACK where nothing is rounded. recompute_scale_factor=True asks torch for what XNNPACK does. litert-torch 0.10.0
#   does the same to it (0.03 apart at 13 x 1.5; not run here).
# Versions: executorch 1.5.1, torch 2.14.1, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   13 x 1.5: XNNPACK 0.03 apart, portable 8e-08 apart
#   13 x 0.5: XNNPACK 0.09 apart, portable 0 apart
#   13 x 1.5, recomputed: XNNPACK 2e-07 apart, portable 2e-07 apart
#   13 x 2.0: XNNPACK 0 apart, portable 0 apart
#   12 x 1.5: XNNPACK 2e-07 apart, portable 9e-08 apart
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet executorch==1.5.1 torch==2.14.1 numpy==2.4.6
venv/bin/python - 2>/dev/null <<'PY'
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from torch import nn
from torch.nn import functional


class Resize(nn.Module):
    def __init__(self, scale, **how):
        super().__init__()
        self.scale, self.how = scale, how

    def forward(self, image):
        return functional.interpolate(image, scale_factor=self.scale, mode="bilinear", **self.how)


def lowered(network, image, partitioner):
    program = torch.export.export(network, (image,))
    file = to_edge_transform_and_lower(program, partitioner=partitioner).to_executorch().buffer
    return Runtime.get().load_program(file).load_method("forward").execute([image])[0]


row = torch.arange(13.0)
image = (row[:, None] + row).reshape(1, 1, 13, 13)
for side, scale, how, right in [
    (13, 1.5, {}, False),
    (13, 0.5, {}, False),
    (13, 1.5, {"recompute_scale_factor": True}, True),
    (13, 2.0, {}, True),
    (12, 1.5, {}, True),
]:
    part = image[..., :side, :side].contiguous()
    network = Resize(scale, **how).eval()
    expected = network(part)
    backends = {"XNNPACK": [XnnpackPartitioner()], "portable": []}
    apart = {}
    for name, partitioner in backends.items():
        found = lowered(network, part, partitioner)
        assert found.shape == expected.shape
        apart[name] = (found - expected).abs().max().item() / expected.max().item()
    option = ", recomputed" if how else ""
    what = ", ".join(f"{name} {value:.1g} apart" for name, value in apart.items())
    print(f"{side} x {scale}{option}: {what}")
    assert apart["portable"] < 1e-5
    assert apart["XNNPACK"] < 1e-5 if right else apart["XNNPACK"] > 0.02
PY
