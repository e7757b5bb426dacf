#!/usr/bin/env bash
# Question: does torch-pruning prune in front of a depthwise convolution with a channel multiplier (groups = inputs, twice as
#   many outputs), as it does in front of one without?
# Guess: yes: two outputs go with each input.
# Seen: the convolution is taken for an ordinary grouped one: its weights lose their only input channel (16 x 0 x 3 x 3)
#   and its groups stay, so the pruned network cannot run. check_pruning_group says that the pruning is allowed.
# Versions: torch-pruning 1.6.1, torch 2.14.1, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   multiplier 1: allowed True, weights 6 x 1 x 3 x 3, runs True
#   multiplier 2: allowed True, weights 16 x 0 x 3 x 3, runs False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 torch-pruning==1.6.1 numpy==2.4.6
venv/bin/python - <<'PY'
import torch
import torch_pruning as tp
from torch import nn

image = torch.randn(2, 4, 8, 8)
for multiplier in (1, 2):
    depthwise = nn.Conv2d(8, 8 * multiplier, 3, groups=8)
    network = nn.Sequential(nn.Conv2d(4, 8, 3), depthwise, nn.Conv2d(8 * multiplier, 5, 1))
    graph = tp.DependencyGraph().build_dependency(network, example_inputs=image)
    group = graph.get_pruning_group(network[0], tp.prune_conv_out_channels, idxs=[1, 5])
    allowed = graph.check_pruning_group(group)
    group.prune()
    try:
        network(image)
    except RuntimeError:
        runs = False
    else:
        runs = True
    shape = " x ".join(map(str, depthwise.weight.shape))
    print(f"multiplier {multiplier}: allowed {allowed}, weights {shape}, runs {runs}")
    assert allowed and runs == (multiplier == 1)
    assert tuple(depthwise.weight.shape) == ((6, 1, 3, 3) if runs else (16, 0, 3, 3))
PY
