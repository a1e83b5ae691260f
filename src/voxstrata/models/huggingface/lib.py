"""Importing transformers, which fails in ways of its own."""

from __future__ import annotations

import importlib
from typing import Any

from voxstrata.errors import MissingDependencyError


def transformers_module(name: str = "transformers") -> Any:
    """The module ``name``.

    Raises:
        MissingDependencyError: transformers is absent, or something it imports is broken.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise _explain(error) from error


def transformers_class(name: str) -> Any:
    """A class of transformers, ``"HubertModel"`` or ``"models.x.modeling_x.XEncoder"``.

    Raises:
        MissingDependencyError: as above, or this version of transformers lacks the class.
    """
    path, _, last = f"transformers.{name}".rpartition(".")
    module = transformers_module(path)
    try:
        return getattr(module, last)  # transformers imports the class's module only now
    except AttributeError as error:
        raise MissingDependencyError(
            f"the installed transformers has no {name}",
            got=f"transformers {transformers_module().__version__}",
            fix="pip install -U transformers",
        ) from error
    except Exception as error:  # a broken torchaudio gives OSError, wrapped or not
        raise _explain(error) from error


def _explain(error: BaseException) -> MissingDependencyError:
    first = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, ModuleNotFoundError) and error.name == "transformers":
        return MissingDependencyError(
            "transformers is not installed", got=first, fix="pip install transformers"
        )
    return MissingDependencyError(
        "transformers cannot be imported",
        got=first,
        expected="a working transformers; a torchaudio that does not fit the installed torch "
        "breaks it",
        fix="run `voxstrata doctor`; most often `pip uninstall torchaudio` heals it",
    )
