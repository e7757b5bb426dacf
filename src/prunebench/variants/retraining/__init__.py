"""Training a network by a strategy, watched and continued after a kill; not the choice of
strategies, which is `config`.
"""
