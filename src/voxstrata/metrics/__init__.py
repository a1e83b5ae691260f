"""Numbers of a list of scores: error rates, costs, curves, intervals; pure functions."""
