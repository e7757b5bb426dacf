"""The network as groups of channels that are pruned together; no decision about which."""
