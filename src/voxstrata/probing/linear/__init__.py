"""Heads that are linear up to the mean over time, many at once on cached means."""
