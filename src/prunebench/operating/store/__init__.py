"""Files, datasets, runs and steps that travel between hosts by a store; not what they mean."""
