"""Does protecting neurons while pruning keep what they know? Found, pruned, probed in one job."""
