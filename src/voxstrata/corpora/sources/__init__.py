"""Ways to open something that is a corpus already; see ``corpora/registry.py``."""
