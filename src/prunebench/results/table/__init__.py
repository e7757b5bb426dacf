"""A table of figures given by a user, read and ranked; runs of our own are ranked by
`results.ranking` alone.
"""
