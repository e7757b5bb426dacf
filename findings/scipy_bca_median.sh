#!/usr/bin/env bash
# Question: which interval does scipy.stats.bootstrap give for the median of latencies that a tool prints in tenths of a
#   millisecond?
# Guess: one from tick to tick, as its other methods do; the default, BCa, is the one recommended.
# Seen: none: nan to nan. BCa asks how the median changes when each latency is left out; among equal values it does not, and 0 /
#   0 is taken for the skew. The data are nothing special: 400 of them, 26 different ones, so the warning, that they are
#   degenerate, says nothing of use. "percentile" gives an interval, and so does BCa for the mean, for unrounded latencies, and
#   mostly for a p95.
# Versions: scipy 1.17.1, numpy 2.4.6
# Date: 2026-11-29
# Output:
#   unrounded, 400 different values, median, BCa: 7.919 to 8.033
#   unrounded, 400 different values, median, percentile: 7.919 to 8.032
#   unrounded, 400 different values, mean, BCa: 7.957 to 8.035
#   unrounded, 400 different values, mean, percentile: 7.956 to 8.034
#   rounded to 0.1 ms, 26 different values, median, BCa: nan to nan
#   rounded to 0.1 ms, 26 different values, median, percentile: 7.900 to 8.000
#   rounded to 0.1 ms, 26 different values, mean, BCa: 7.954 to 8.032
#   rounded to 0.1 ms, 26 different values, mean, percentile: 7.953 to 8.031
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scipy==1.17.1 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
from scipy.stats import bootstrap

rng = np.random.default_rng(0)
exact = 8 * rng.lognormal(0, 0.05, 400)
for name, latencies in (("unrounded", exact), ("rounded to 0.1 ms", exact.round(1))):
    for statistic in (np.median, np.mean):
        for method in ("BCa", "percentile"):
            found = bootstrap((latencies,), statistic, method=method, random_state=0)
            low, high = found.confidence_interval
            different = len(np.unique(latencies))
            print(f"{name}, {different} different values, {statistic.__name__}, {method}: {low:.3f} to {high:.3f}")
            none = name != "unrounded" and statistic is np.median and method == "BCa"
            assert np.isnan(low) == np.isnan(high) == none
PY
