"""Datasets: the built-in scenes, the real-data recipe, and the checks every dataset passes."""
