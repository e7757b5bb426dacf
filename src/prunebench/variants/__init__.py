"""Making one variant from another: checkpoints, audits, pruning, retraining, export, INT8; not
which variants a run has, which is `experiment`.
"""
