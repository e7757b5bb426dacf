"""The report's sections, each computed from a stored run."""
