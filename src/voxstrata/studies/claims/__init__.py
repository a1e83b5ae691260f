"""Findings of papers as functions of results: what was claimed, what is seen, how sure."""
