"""Heads that write symbols: CTC on frames."""
