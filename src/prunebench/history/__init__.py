"""Results over time: the store, what it holds, and what changed."""
