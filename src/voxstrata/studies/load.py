"""From a name or file to a study: reading, scales laid over it, and changes from the command line.

Nothing is judged here but what cannot be read at all; :mod:`voxstrata.studies.check` finds every
problem of what was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from voxstrata.config import read_yaml
from voxstrata.errors import ConfigError, UsageError
from voxstrata.registry import unknown_name
from voxstrata.studies.settings import SCALES

SCALED, DEFAULT_SCALE = "scales", "demo"
"""Key of a study file whose entries are laid over the rest; the scale where none is asked for."""


@dataclass(frozen=True)
class Source:
    """A study as read.

    Attributes:
        name: file, or name of a shipped study.
        raw: keys and values at the scale asked for.
        scale: "" for a study without scales.
        scales: those it has.
        lines: line of each key in the file, by path ("analyses.probing.tasks"), counted from 1;
            of a key that the scale has too, its line there.
        changed: names of corpora that the command line replaced.
    """

    name: str
    raw: Mapping[str, Any]
    scale: str = ""
    scales: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()


def shipped() -> list[str]:
    """Names of the studies that come with the package."""
    folder = resources.files("voxstrata.studies.shipped")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if ".yaml" in f.name)


def find(name: str) -> Path:
    """The file of a study.

    Args:
        name: of a shipped study, or a path to a YAML file.

    Raises:
        UsageError: there is neither.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name).expanduser()
    known = shipped()
    if name not in known:
        raise unknown_name("study", name, [*known, "a .yaml file"])
    return Path(str(resources.files("voxstrata.studies.shipped") / f"{name}.yaml"))


def read_study(
    name: str,
    *,
    scale: str | None = None,
    corpora: Mapping[str, str] | None = None,
    models: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
    cluster: str | None = None,
) -> Source:
    """Read a study at a scale.

    Args:
        name: shipped name or file.
        scale: "demo", "small" or "paper"; ``None`` for the study's first.
        corpora: corpora instead of the file's, by name; the name "" replaces all.
        models: model specs instead of the file's, by name.
        changes: values by dotted path ("analyses.probing.seeds"); ``None`` takes a key away.
        cluster: where every analysis makes its pass (docs/scaling.md), if its job can.

    Raises:
        ConfigError: the file cannot be read or is not a mapping.
        UsageError: the study has no such scale, corpus, model or path.
    """
    path = find(name)
    whole = read_yaml(path)
    overlays = whole.pop(SCALED, None) or {}
    if not isinstance(overlays, Mapping) or not all(
        isinstance(one, Mapping) for one in overlays.values()
    ):
        raise ConfigError(
            f"{path}: `{SCALED}` is not a mapping of scales to changes",
            expected="scales: {small: {models: ...}}",
        )
    odd = [str(one) for one in overlays if one not in SCALES]
    if odd:
        raise ConfigError(f"{path}: unknown scales", got=", ".join(odd), expected=", ".join(SCALES))
    held = tuple(one for one in SCALES if one in overlays or (one == DEFAULT_SCALE and overlays))
    if scale is not None and scale not in (held or (DEFAULT_SCALE,)):
        raise UsageError(
            f"the study {name} has no scale {scale!r}",
            got=scale,
            expected=", ".join(held) if held else "no scales: it is run as it stands",
            fix="leave --scale out" if not held else "",
        )
    chosen = scale or (held[0] if held else "")
    raw = merged(whole, overlays.get(chosen, {}))
    raw.setdefault("name", path.stem)
    raw, changed = _with_corpora(raw, corpora or {}, name)
    raw = _with_models(raw, models or {}, name)
    for key, value in (changes or {}).items():
        raw = _with(raw, key, value, name)
    if cluster is not None:
        raw = _on_cluster(raw, cluster)
    return Source(name, raw, chosen, held, _lines(path, chosen), changed)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping laid over another, mappings within them likewise; ``null`` takes a key away."""
    found = dict(below)
    for key, value in above.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = merged(found[key], value)
        else:
            found[key] = value
    return found


def _with_corpora(
    raw: dict[str, Any], given: Mapping[str, str], name: str
) -> tuple[dict[str, Any], frozenset[str]]:
    known = _mapping(raw.get("corpora"))
    changed = set()
    for key, spec in given.items():
        if key and key not in known:
            raise UsageError(
                f"the study {name} has no corpus {key!r}",
                got=f"--corpus {key}={spec}",
                expected=", ".join(known) or "a study with corpora",
            )
        for one in [key] if key else list(known):
            # A map of tasks stays one: every task gets the corpus that was named.
            several = isinstance(known[one], Mapping) or one == "tasks"
            mapped = spec.endswith((".yaml", ".yml")) or not several
            known[one] = spec if mapped else {"default": spec}
            changed.add(one)
    return {**raw, "corpora": known} if changed else raw, frozenset(changed)


def _with_models(raw: dict[str, Any], given: Mapping[str, str], name: str) -> dict[str, Any]:
    known = _mapping(raw.get("models"))
    for key, spec in given.items():
        if key not in known:
            raise UsageError(
                f"the study {name} has no model {key!r}",
                got=f"--model {key}={spec}",
                expected=", ".join(known) or "a study with models",
            )
        entry = known[key]
        known[key] = {**entry, "spec": spec} if isinstance(entry, Mapping) else spec
    return {**raw, "models": known} if given else raw


def _on_cluster(raw: dict[str, Any], cluster: str) -> dict[str, Any]:
    """Every analysis whose job takes a cluster; what is no analysis is told by checking."""
    from voxstrata.studies.jobs.job import JOBS

    analyses = _mapping(raw.get("analyses"))
    for name, entry in analyses.items():
        job = entry.get("job") if isinstance(entry, Mapping) else None
        if job in JOBS.names() and "cluster" in JOBS.get(str(job)).settings.model_fields:
            analyses[name] = {**entry, "cluster": cluster}
    return {**raw, "analyses": analyses} if analyses else raw


def _mapping(value: Any) -> dict[str, Any]:
    """A copy; empty for what is no mapping, which checking tells."""
    return dict(value) if isinstance(value, Mapping) else {}


def _with(raw: Mapping[str, Any], path: str, value: Any, name: str) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    found = dict(raw)
    if not rest:
        if value is None:
            found.pop(head, None)
        else:
            found[head] = value
        return found
    below = found.get(head)
    if not isinstance(below, Mapping):
        raise UsageError(
            f"the study {name} has no {head!r} to change",
            got=f"--set {path}",
            expected="a dotted path such as analyses.probing.seeds",
        )
    found[head] = _with(below, rest, value, name)
    return found


def _lines(path: Path, scale: str) -> dict[str, int]:
    """Line of every key of a YAML file at a scale; what other scales say is not looked at."""
    import yaml

    found: dict[str, int] = {}

    def walk(node: Any, where: tuple[str, ...] = ()) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            if where or str(key.value) != SCALED:
                here = (*where, str(key.value))
                found[".".join(here)] = key.start_mark.line + 1
                walk(value, here)

    def under(node: Any, name: str) -> Any:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        return next((value for key, value in pairs if str(key.value) == name), None)

    with path.open(encoding="utf-8") as file:
        whole = yaml.compose(file, Loader=yaml.SafeLoader)
    walk(whole)
    walk(under(under(whole, SCALED), scale))  # last: what a scale says holds
    return found
