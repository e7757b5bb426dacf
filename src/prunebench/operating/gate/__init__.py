"""May this change be merged: the runs compared, the decision, and the second measurement that
confirms it.
"""
