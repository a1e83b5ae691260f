"""Corpus maps that come with the package."""
