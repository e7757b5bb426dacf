"""A kit: one file that measures a run's files on a device, and its results brought home."""
