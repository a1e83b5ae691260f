"""The text a model is named by: ``[random:]BASE[@REVISION][@CUT][,key=value...]``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from voxstrata.errors import UsageError
from voxstrata.files import typed_path
from voxstrata.models.family import ModelSpec

_OPTION = re.compile(r",([a-z_][a-z0-9_]*)=([^,]*)$")
_LAYER_NAME = re.compile(r"\d{1,3}|conv\d{0,2}|block\d{1,2}|mfa|pool|embedding")
_FIX = "write [random:]BASE[@REVISION][@LAYER][,key=value...], for example 'wavlm-large@12'"


def parse(text: str) -> ModelSpec:
    """Take a model's text apart.

    One ``@`` is a cut where a layer name follows (one to three digits, ``conv``, ``conv3``,
    ``block2``, ``mfa``, ``pool``, ``embedding``) and a revision otherwise; with two, the first is
    the revision and the second the cut, so that a branch called ``12`` is still within reach. A
    base that exists as a file or directory is taken whole, ``@`` and commas included.

    Raises:
        UsageError: the text is empty, an option is not ``key=value`` or is given twice, or there
            are more than two ``@`` parts.
    """
    rest = text.strip()
    random = rest.startswith("random:")
    if random:
        rest = rest.removeprefix("random:")
    options: dict[str, str] = {}
    while not _is_place(rest) and (found := _OPTION.search(rest)):
        if found[1] in options:
            raise UsageError(f"the model {text!r} gives the option {found[1]!r} twice", fix=_FIX)
        options[found[1]] = found[2]
        rest = rest[: found.start()]
    options = dict(reversed(options.items()))
    if not _is_place(rest) and "," in rest:
        raise UsageError(
            f"an option of the model {text!r} is not key=value",
            got=rest.partition(",")[2],
            expected="key=value",
            fix=_FIX,
        )
    base, marks = _split_marks(rest)
    if not base or base.startswith("random:") or len(marks) > 2 or not all(marks):
        raise UsageError(f"{text!r} does not name a model", got=text, fix=_FIX)
    revision = cut = None
    if len(marks) == 2:
        revision, cut = marks
    elif marks and _LAYER_NAME.fullmatch(marks[0]):
        cut = marks[0]
    elif marks:
        revision = marks[0]
    return ModelSpec(text.strip(), base, random, revision, cut, options)


def with_options(spec: ModelSpec, options: Mapping[str, Any]) -> ModelSpec:
    """``spec`` with options added or replaced by Python values, its text rewritten to match."""
    added = {key: _as_text(value) for key, value in options.items() if value is not None}
    if not added:
        return spec
    merged = {**spec.options, **added}
    return ModelSpec(
        format_spec(spec.base, spec.random, spec.revision, spec.cut, merged),
        spec.base,
        spec.random,
        spec.revision,
        spec.cut,
        merged,
    )


def format_spec(
    base: str, random: bool, revision: str | None, cut: str | None, options: Mapping[str, str]
) -> str:
    """The text that :func:`parse` takes apart into these pieces."""
    marks = "".join(f"@{part}" for part in (revision, cut) if part is not None)
    return (
        ("random:" if random else "")
        + base
        + marks
        + "".join(f",{key}={value}" for key, value in options.items())
    )


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _exists(text: str) -> bool:
    return bool(text) and os.path.exists(typed_path(text))


def _is_place(text: str) -> bool:
    """Whether ``text`` is something on disk, followed by nothing but ``@`` parts."""
    base, marks = _split_marks(text)
    return _exists(base) and not any("," in mark for mark in marks)


def _split_marks(text: str) -> tuple[str, list[str]]:
    """Split at ``@``, keeping together the longest front part that exists on disk."""
    parts = text.split("@")
    for length in range(len(parts), 1, -1):
        front = "@".join(parts[:length])
        if _exists(front):
            return front, parts[length:]
    return parts[0], parts[1:]
