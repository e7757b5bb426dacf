"""Runs over time: the store, what it holds, and what changed; not the verdict of a gate, which is
`operating.gate`.
"""
