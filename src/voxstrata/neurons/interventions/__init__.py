"""Changing neurons and seeing what changes; see ``docs/neurons/interventions.md``."""
