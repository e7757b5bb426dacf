#!/usr/bin/env bash
# Question: does torch-pruning remove the right inputs of the next layer where channels are put in another order in between
#   (channel_shuffle as in ShuffleNet, a flatten of height x width x channels, padding of channels as in early ResNets)?
# Guess: yes, as behind concatenations, chunks and a flatten, or an error where it does not know an operator.
# Seen: it follows what joins and splits channels, and takes what reorders them for something that keeps them: the inputs
#   removed are those at the old places. The network runs, of the right widths, and computes something else. Each case
#   prunes channels that are zero, so the output must stay what it was.
# Versions: torch-pruning 1.6.1, torch 2.14.1, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   nothing: 0 apart
#   halves exchanged (chunk, cat): 0 apart
#   flatten: 4e-08 apart
#   channel_shuffle: 1 apart
#   flatten, channels last: 0.8 apart
#   pad of channels: 0.7 apart
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
from torch.nn import functional

torch.manual_seed(0)


class Two(nn.Module):
    """A convolution of 8 channels, something in between, and a layer that takes them all."""

    def __init__(self, between, last):
        super().__init__()
        self.first, self.between, self.last = nn.Conv2d(4, 8, 3), between, last

    def forward(self, image):
        return self.last(self.between(self.first(image)))


def halves(channels):
    return torch.cat(channels.chunk(2, 1)[::-1], 1)


def rows(channels):
    return channels.permute(0, 2, 3, 1).flatten(1)


cases = {
    "nothing": (lambda y: y, nn.Conv2d(8, 5, 3), True),
    "halves exchanged (chunk, cat)": (halves, nn.Conv2d(8, 5, 3), True),
    "flatten": (lambda y: y.flatten(1), nn.Linear(8 * 36, 5), True),
    "channel_shuffle": (lambda y: functional.channel_shuffle(y, 2), nn.Conv2d(8, 5, 3), False),
    "flatten, channels last": (rows, nn.Linear(8 * 36, 5), False),
    "pad of channels": (
        lambda y: functional.pad(y, (0, 0, 0, 0, 2, 2)),
        nn.Conv2d(12, 5, 3),
        False,
    ),
}
image = torch.randn(2, 4, 8, 8)
for name, (between, last, right) in cases.items():
    network = Two(between, last).eval()
    with torch.no_grad():
        network.first.weight[[1, 5]] = 0
        network.first.bias[[1, 5]] = 0
    before = network(image)
    graph = tp.DependencyGraph().build_dependency(network, example_inputs=image)
    graph.get_pruning_group(network.first, tp.prune_conv_out_channels, idxs=[1, 5]).prune()
    apart = (network(image) - before).abs().max().item()
    print(f"{name}: {apart:.1g} apart")
    assert apart < 1e-5 if right else apart > 0.05
PY
