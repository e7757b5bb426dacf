"""Runs over time: the store, what it holds, what changed; verdicts are `operating.gate`'s."""
