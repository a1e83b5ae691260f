"""The one family of errors: what went wrong, what was found, what was expected, how to fix it."""

from __future__ import annotations

from typing import Any

_MISSING: Any = object()


class VoxstrataWarning(UserWarning):
    """A number is right but weaker than it may look (few rows for its width, say)."""


class VoxstrataError(Exception):
    """Base of every error that voxstrata raises on purpose.

    Args:
        what: one sentence naming the file, argument or object that is wrong.
        got: what was found (shown with ``repr`` unless it is a string).
        expected: what would have been right.
        fix: the remedy, as something the user can do.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, got: Any = _MISSING, expected: Any = _MISSING, fix: str = ""
    ) -> None:
        self.what = what
        self.got = None if got is _MISSING else got
        self.expected = None if expected is _MISSING else expected
        self.fix = fix
        lines = [what]
        if got is not _MISSING:
            lines.append(f"  got:      {got if isinstance(got, str) else repr(got)}")
        if expected is not _MISSING:
            lines.append(f"  expected: {expected if isinstance(expected, str) else repr(expected)}")
        if fix:
            lines.append(f"  fix:      {fix}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes send errors home by pickle; keyword-only arguments need this.
        return (_rebuild, (type(self), self.what, self.got, self.expected, self.fix, str(self)))


def _rebuild(
    kind: type[VoxstrataError], what: str, got: Any, expected: Any, fix: str, text: str
) -> VoxstrataError:
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    error.what, error.got, error.expected, error.fix = what, got, expected, fix
    return error


class UsageError(VoxstrataError, ValueError):
    """An argument of a command or function is wrong."""


class UnknownNameError(UsageError):
    """A name is not in its registry (model, layer, corpus, measure, unit, ...)."""


class ConfigError(UsageError):
    """A configuration (YAML file, flags, keyword arguments) does not validate."""


class ShapeError(UsageError):
    """Arrays do not fit each other (rows, widths, dimensions)."""


class CorpusError(VoxstrataError):
    """A corpus is missing, empty or not laid out as its recipe expects."""


class AudioError(CorpusError):
    """One recording cannot be read or is not usable."""


class LabelError(CorpusError):
    """A label is malformed or lies outside its recording."""


class ModelError(VoxstrataError):
    """A model cannot be found, built or run."""


class CheckpointError(ModelError):
    """Weights do not fit the model they are loaded into."""


class NumericsError(VoxstrataError):
    """A computation met numbers it must not continue with (NaN, infinity, no variance)."""


class StorageError(VoxstrataError):
    """The disk is full, read-only, locked by another run, or holds damaged state."""


class ClusterError(VoxstrataError):
    """Workers, or the scheduler between them, are gone or cannot do the work."""


class MissingDependencyError(VoxstrataError):
    """An optional package is needed and absent, or present and broken."""


class ResultsError(VoxstrataError):
    """A results folder is missing, damaged or of an unknown schema."""


class RunInterruptedError(VoxstrataError):
    """The user stopped the run; what was computed is kept and the message says how to resume."""

    exit_code = 130
