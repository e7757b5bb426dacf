"""The report of a run, in every language and format, from what its folder keeps; no figure is
computed here that a verdict rests on.
"""
