#!/usr/bin/env bash
# Question: does cv2.warpAffine on 8-bit images, which Ultralytics' augmentation (translate, scale,
#   rotate) runs on every training image, give the same pixels in OpenCV 5 as in 4?
# Guess: yes, bit for bit, as resize and JPEG decoding do: 8-bit linear sampling is an old fixed-point routine.
# Seen: 4 rounds the sampled position to 1/32 pixel, 5 takes it exactly: on noise, 4 is up to 4 grey
#   levels from linear sampling's definition and 57-68 % of its values are off by more than
#   rounding, 5 none. resize is equal bit for bit at every size tried. So a training with the
#   same seed sees other images after the upgrade, and validation the same ones.
# Versions: opencv-python-headless 5.0.0.93 and 4.13.0.92, numpy 2.4.6
# Date: 2026-11-28
# Output:
#   OpenCV 4.13.0 rotated: at most 4.14 levels from the exact value, 57% off by more than rounding
#   OpenCV 4.13.0 shifted: at most 3.58 levels from the exact value, 68% off by more than rounding
#   OpenCV 4.13.0 shifted by 32nds: at most 0.50 levels from the exact value, 0% off by more than rounding
#   OpenCV 4.13.0 halved: at most 0.00 levels from the exact value, 0% off by more than rounding
#   OpenCV 5.0.0 rotated: at most 0.51 levels from the exact value, 0% off by more than rounding
#   OpenCV 5.0.0 shifted: at most 0.50 levels from the exact value, 0% off by more than rounding
#   OpenCV 5.0.0 shifted by 32nds: at most 0.50 levels from the exact value, 0% off by more than rounding
#   OpenCV 5.0.0 halved: at most 0.00 levels from the exact value, 0% off by more than rounding
#   resize: 5 of 5 sizes equal bit for bit
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > warp.py <<'PY'
import sys

import cv2
import numpy as np

image = np.random.default_rng(0).integers(0, 256, (360, 640, 3)).astype(np.uint8)
pixels = image.astype(float)
rows, columns = np.mgrid[0:360, 0:640].astype(float)
results = {}
for name, matrix in {
    "rotated": [[0.9, 0.1, 3], [-0.1, 0.9, 5]],
    "shifted": [[1, 0, 20.3], [0, 1, 11.6]],
    "shifted by 32nds": [[1, 0, 20.25], [0, 1, 11.53125]],
    "halved": [[0.5, 0, 10], [0, 0.5, 10]],
}.items():
    warped = cv2.warpAffine(image, np.array(matrix, float), (640, 360), borderValue=(114, 114, 114))
    # Linear sampling by its definition, at the exact position, away from the border.
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    x, y = (back[i, 0] * columns + back[i, 1] * rows + back[i, 2] for i in (0, 1))
    inside = (x >= 1) & (x <= 638) & (y >= 1) & (y <= 358)
    left, top = (np.floor(value).astype(int).clip(0, most) for value, most in ((x, 638), (y, 358)))
    right, down = (x - left)[..., None], (y - top)[..., None]
    upper = pixels[top, left] * (1 - right) + pixels[top, left + 1] * right
    lower = pixels[top + 1, left] * (1 - right) + pixels[top + 1, left + 1] * right
    exact = upper * (1 - down) + lower * down
    error = np.abs(warped - exact)[inside]
    print(f"OpenCV {cv2.__version__} {name}: at most {error.max():.2f} levels from the exact value, "
          f"{(error > 0.51).mean():.0%} off by more than rounding")
    results[f"error_{name}"] = error.max()
for width, height in ((320, 180), (341, 192), (213, 121), (641, 361), (961, 540)):
    results[f"{width}x{height}"] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
np.savez(sys.argv[1], **results)
PY
for version in 4.13.0.92 5.0.0.93; do
    python3 -m venv "venv-$version"
    "venv-$version/bin/pip" install --quiet "opencv-python-headless==$version" numpy==2.4.6
    "venv-$version/bin/python" warp.py "$version.npz"
done
venv-5.0.0.93/bin/python - <<'PY'
import numpy as np

old, new = np.load("4.13.0.92.npz"), np.load("5.0.0.93.npz")
sizes = [name for name in old if not name.startswith("error")]
same = sum(np.array_equal(old[name], new[name]) for name in sizes)
print(f"resize: {same} of {len(sizes)} sizes equal bit for bit")
assert same == len(sizes)
for name in ("error_rotated", "error_shifted"):
    assert old[name] > 2 and new[name] < 0.52, (name, old[name], new[name])
for name in ("error_shifted by 32nds", "error_halved"):
    assert max(old[name], new[name]) <= 0.5, (name, old[name], new[name])
PY
