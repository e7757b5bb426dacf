"""What happens to finished runs: promoted, measured again, gated, shared, logged."""
