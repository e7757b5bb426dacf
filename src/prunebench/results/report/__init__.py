"""The report of a run, from what its folder keeps; no verdict rests on a figure computed here."""
