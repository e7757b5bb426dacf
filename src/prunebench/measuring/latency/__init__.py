"""Latency in rounds of fresh processes: turns, samples, noise, when to stop, intervals."""
