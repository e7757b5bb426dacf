"""Exported graphs rewritten into ones that compute the same in less time.

Each pass is a module of its own: where it applies, why it is faster and what it was measured to
give. ``apply`` runs them all; ``editing`` holds the graph that they edit.
"""
