"""Choosing layers from curves and scores."""
