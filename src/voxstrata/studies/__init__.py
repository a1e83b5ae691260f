"""Studies: whole papers, or questions of one's own, as recipes (see docs/studies.md)."""
