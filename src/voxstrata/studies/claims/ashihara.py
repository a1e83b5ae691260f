"""The paper whose claims stand in the files that import this one."""

from __future__ import annotations

PAPER = "Ashihara et al. 2024 (arXiv 2401.17632)"
SEED = 20240131
"""Of everything that is drawn here."""
