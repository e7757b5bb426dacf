"""Structured pruning of Ultralytics networks, exact and made of stock classes only."""
