"""Retraining after pruning: what plain training does to a structure, and training that keeps it."""
