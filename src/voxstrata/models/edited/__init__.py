"""Models with some of their neurons changed in every forward pass; see ``docs/neurons``."""
