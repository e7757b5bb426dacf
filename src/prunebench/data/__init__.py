"""Datasets: found, read, checked, and the built-in ones made; not how they travel, which is
`operating.store`.
"""
