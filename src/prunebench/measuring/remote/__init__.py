"""A device reached over ssh: what it is sent, how, and what it answers."""
