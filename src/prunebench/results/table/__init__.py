"""A table of figures given by a user, read and ranked."""
