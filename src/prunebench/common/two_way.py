"""Huber's M-estimator of a location and of a two-way table, with the fits that leave a round out.

A two-way table has an effect of each row and of each column, and may lack cells (Scheffe, The
Analysis of Variance, 1959, chapter 4; with lacking cells Yates, Empire Journal of Experimental
Agriculture 1, 1933). The M-estimator (Huber, Annals of Statistics 1, 1973) bounds what one cell
can do: beyond ``CLIP`` standard deviations a residual counts as that many. It is found by
reweighted least squares from Tukey's median polish. The scale is the residuals' median size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CLIP = 2.5
"""Standard deviations. Huber's usual 1.345 follows the majority where a host has two regimes that
slow networks unequally, and not their mean: intervals cover 91 % there (`benchmarks/coverage.py`).
"""

STEPS = 50
CLOSE = 1e-9  # A fit ends when nothing moves by more.
TO_SIGMA = 1 / 0.6745  # Standard deviation of normal errors by their median size.
RIDGE = 1e-9  # Decides what cells that lack leave open, and nothing else.


class LeftOut(NamedTuple):
    """An estimate, (...), and what it is without each of n columns, (n, ...)."""

    whole: Array
    without: Array


def locations(values: Array) -> LeftOut:
    """The M-estimate of values, (n,), as an array of no dimension, and without each of them."""
    n = len(values)
    start: Array = np.asarray(np.median(values))
    for _ in range(2):
        scale = TO_SIGMA * float(np.median(np.abs(values - start)))
        start = _centre(values, np.ones(n), scale)
    return LeftOut(start, _centre(values, 1.0 - np.eye(n), scale))


def row_effects(table: Array) -> LeftOut:
    """Each row's mean in a typical column of a table, (rows, columns), NaN where a cell lacks.

    Differences of two are the fit's; what all of them share is the columns' location. Every column
    has a cell.
    """
    known = ~np.isnan(table)
    cells, weights = np.where(known, table, 0.0), known.astype(float)
    residuals = _polished(table)
    for _ in range(2):
        scale = TO_SIGMA * float(np.median(np.abs(residuals[known])))
        rows, columns = two_way_fit(cells, weights, scale)
        residuals = cells - rows[:, None] - columns
    count = table.shape[1]
    others = 1.0 - np.eye(count)
    less_rows, less_columns = two_way_fit(cells, weights * others[:, None, :], scale)
    typical = locations(columns)
    spread = TO_SIGMA * float(np.median(np.abs(columns - typical.whole)))
    without = _centre(less_columns, others, spread)
    return LeftOut(rows + typical.whole, less_rows + without[:, None])


def _centre(values: Array, weights: Array, scale: float) -> Array:
    """M-estimate over the last axis of values weighted 0 or 1, for every row of weights."""
    centre: Array = (weights * values).sum(-1) / weights.sum(-1)
    for _ in range(STEPS):
        before = centre
        found = weights * _trust(values - centre[..., None], scale)
        centre = (found * values).sum(-1) / found.sum(-1)
        if np.abs(centre - before).max() < CLOSE:
            break
    return centre


def two_way_fit(cells: Array, known: Array, scale: float) -> tuple[Array, Array]:
    """Effects of rows and columns, for every table of weights ``known``, (..., rows, columns)."""
    weights, rows = known, np.zeros(known.shape[:-1])
    for _ in range(STEPS):
        before = rows
        rows, columns = _least_squares(cells, weights)
        residuals = cells - rows[..., :, None] - columns[..., None, :]
        weights = known * _trust(residuals, scale)
        if np.abs(rows - before).max() < CLOSE:
            break
    return rows, columns


def _least_squares(cells: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted least squares: the columns eliminated, the rows' effects sum to about 0."""
    of_column = np.maximum(weights.sum(-2), RIDGE)
    shares = weights / of_column[..., None, :]
    count = weights.shape[-2]
    normal = -shares @ np.swapaxes(weights, -1, -2)
    diagonal = np.arange(count)
    normal[..., diagonal, diagonal] += weights.sum(-1) + RIDGE
    sums = (weights * cells).sum(-2)
    right = (weights * cells).sum(-1) - (shares @ sums[..., None])[..., 0]
    rows = np.linalg.solve(normal + 1.0, right[..., None])[..., 0]
    return rows, (sums - (weights * rows[..., None]).sum(-2)) / of_column


def _trust(residuals: Array, scale: float) -> Array:
    """Huber's weights; all 1 where nothing varies."""
    if scale < CLOSE:
        return np.ones_like(residuals)
    return np.minimum(1.0, CLIP * scale / np.maximum(np.abs(residuals), CLOSE * scale))


def _polished(table: Array) -> Array:
    """Residuals of a median polish."""
    residuals = table.copy()
    for _ in range(10):
        residuals -= np.nanmedian(residuals, axis=0)
        residuals -= np.nanmedian(residuals, axis=1)[:, None]
    return residuals
