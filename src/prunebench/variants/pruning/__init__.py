"""Which channels go: importance, costs, allocation to a target, and the step that removes them;
not the retraining that follows.
"""
