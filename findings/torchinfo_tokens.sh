#!/usr/bin/env bash
# Question: does torchinfo's summary count the multiply-accumulates of ConvNeXt, Swin and ViT as it does those of a ResNet?
# Guess: within a few per cent, attention aside.
# Seen: a Linear is counted once, however many places or tokens it runs over: 64 tokens through 32 x 64 weights are 2,048,
#   not 131,072. So networks whose channels are last come out 14 to 150 times too small, and smaller than a ResNet.
#   A transposed convolution comes out too large by the square of its stride. No warning.
# Versions: torchinfo 1.8.0, torch 2.14.1, torchvision 0.29.1, numpy 2.4.6
# Date: 2026-11-29
# Output:
#   Linear over 64 tokens: 131,072, torchinfo 2,048
#   Conv2d 1x1 over 8x8: 131,072, torchinfo 131,072
#   ConvTranspose2d 2x2, stride 2: 524,288, torchinfo 2,097,152
#   resnet50: 4.09 G by its makers, torchinfo 4.09 G
#   convnext_tiny: 4.46 G by its makers, torchinfo 0.32 G
#   swin_t: 4.49 G by its makers, torchinfo 0.03 G
#   vit_b_16: 17.56 G by its makers, torchinfo 0.17 G
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torchinfo==1.8.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
venv/bin/python - <<'PY'
from torch import nn
from torchinfo import summary
from torchvision.models import get_model, get_model_weights


def counted(network, *shape):
    return summary(network, input_size=shape, verbose=0).total_mult_adds


# Every weight meets every token, and every place of the smaller map, once.
for name, layer, shape, places in (
    ("Linear over 64 tokens", nn.Linear(32, 64, bias=False), (1, 64, 32), 64),
    ("Conv2d 1x1 over 8x8", nn.Conv2d(32, 64, 1, bias=False), (1, 32, 8, 8), 64),
    ("ConvTranspose2d 2x2, stride 2", nn.ConvTranspose2d(32, 64, 2, 2, bias=False), (1, 32, 8, 8), 64),
):
    exact, seen = places * layer.weight.numel(), counted(layer, *shape)
    print(f"{name}: {exact:,}, torchinfo {seen:,}")
    factor = {"Linear": 1 / 64, "Conv2d": 1, "ConvTranspose2d": 4}[name.split()[0]]
    assert seen == factor * exact

for name in ("resnet50", "convnext_tiny", "swin_t", "vit_b_16"):
    published = get_model_weights(name)["IMAGENET1K_V1"].meta["_ops"]
    seen = counted(get_model(name), 1, 3, 224, 224) / 1e9
    print(f"{name}: {published:.2f} G by its makers, torchinfo {seen:.2f} G")
    assert abs(seen / published - 1) < 0.02 if name == "resnet50" else seen < 0.2 * published
PY
