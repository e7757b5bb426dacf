"""The host that is measured on: what it is, what is wrong with it, and whose turn it is."""
