"""Latency in rounds of fresh processes: turns, samples, noise, when to stop, intervals; not what a
figure means, which is `results`.
"""
