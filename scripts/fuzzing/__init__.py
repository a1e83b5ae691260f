"""One small target a file reader: given bytes as a file's content, read it.

A reader may return, or raise an error of the family in ``voxstrata/errors.py``; anything else is a
finding. ``scripts/fuzz.py`` drives these targets with atheris, ``tests/property/test_readers.py``
with a few mutants and with the findings of the past.
"""

from __future__ import annotations

from fuzzing import models, runs, settings, speech, tables
from fuzzing.target import Target

TARGETS: tuple[Target, ...] = (
    *speech.TARGETS,
    *settings.TARGETS,
    *models.TARGETS,
    *tables.TARGETS,
    *runs.TARGETS,
)
"""Every reader of a file that a user, or another program, may hand in or damage."""


def named(name: str) -> Target:
    """A target by name."""
    return next(one for one in TARGETS if one.name == name)
