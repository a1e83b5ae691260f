"""Sets of neurons of one model: found, combined, written down, checked against a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.errors import ConfigError, ModelError, UsageError
from voxstrata.files import read_json, write_json

if TYPE_CHECKING:
    from voxstrata.models.base import SpeechModel

FORMAT = 1
"""Version of the files written by this release."""

Indices = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class NeuronSet:
    """Neurons of one model.

    Attributes:
        name: what they are called in tables and figures.
        model: text of the model.
        fingerprint: of the model that the indices are of.
        widths: D of every layer that was looked at, also of those without a neuron in the set.
        layers: sorted indices (from 0) by layer name, such as ``"block.3.ffn.inner"``.
        groups: where they come from: indices by layer of each group ("F", "M"); may be empty.
        details: JSON-like facts on how they were found.
    """

    name: str
    model: str
    fingerprint: str
    widths: Mapping[str, int]
    layers: Indices
    groups: Mapping[str, Indices] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for where, layers in (
            ("", self.layers),
            *((f" of {g}", v) for g, v in self.groups.items()),
        ):
            for layer, indices in layers.items():
                width = self.widths.get(layer)
                if width is None:
                    raise UsageError(
                        f"the neuron set {self.name!r}{where} names a layer without its width",
                        got=layer,
                        expected=", ".join(self.widths) or "no layer at all",
                    )
                if list(indices) != sorted(set(indices)) or any(
                    not 0 <= i < width for i in indices
                ):
                    raise UsageError(
                        f"the neuron set {self.name!r}{where} is not a set of neurons of {layer}",
                        got=str(list(indices)[:12]),
                        expected=f"different indices from 0 to {width - 1}, sorted",
                    )

    def __len__(self) -> int:
        return sum(len(indices) for indices in self.layers.values())

    def of(self, layer: str) -> tuple[int, ...]:
        """Indices in ``layer``; empty where it has none.

        Raises:
            UsageError: the layer was not looked at.
        """
        if layer not in self.widths:
            raise UsageError(
                f"the neuron set {self.name!r} knows no layer {layer!r}",
                expected=", ".join(self.widths),
            )
        return tuple(self.layers.get(layer, ()))

    def counts(self) -> dict[str, int]:
        """Number of neurons of every layer that was looked at."""
        return {layer: len(self.layers.get(layer, ())) for layer in self.widths}

    def union(self, other: NeuronSet, name: str | None = None) -> NeuronSet:
        """Neurons of either."""
        return self._with(other, name or f"{self.name} or {other.name}", set.union)

    def intersect(self, other: NeuronSet, name: str | None = None) -> NeuronSet:
        """Neurons of both."""
        return self._with(other, name or f"{self.name} and {other.name}", set.intersection)

    def minus(self, other: NeuronSet, name: str | None = None) -> NeuronSet:
        """Neurons of this set that are not in the other."""
        return self._with(other, name or f"{self.name} without {other.name}", set.difference)

    def group(self, name: str) -> NeuronSet:
        """The neurons of one group as a set of their own.

        Raises:
            UsageError: there is no such group.
        """
        if name not in self.groups:
            raise UsageError(
                f"the neuron set {self.name!r} has no group {name!r}",
                expected=", ".join(self.groups) or "no groups",
            )
        return replace(self, name=f"{self.name}: {name}", layers=self.groups[name], groups={})

    def check(self, model: SpeechModel) -> None:
        """Whether the indices are of this very model.

        Raises:
            ModelError: the model is another one, or lacks a layer.
        """
        if model.fingerprint != self.fingerprint:
            raise ModelError(
                f"the neuron set {self.name!r} belongs to another model than {model.spec}",
                got=f"found in {self.model}, fingerprint {self.fingerprint}",
                expected=f"fingerprint {model.fingerprint}",
                fix="run `voxstrata neurons` on this model, or name the model of the set",
            )
        self.check_widths(model)

    def check_widths(self, model: SpeechModel) -> None:
        """Whether the model has the layers of the set, as wide as the set says.

        Raises:
            ModelError: it has not.
        """
        have = {info.name: info.width for info in model.layers}
        wrong = [
            f"{layer}: {have.get(layer, 'absent')}"
            for layer, width in self.widths.items()
            if have.get(layer) != width
        ]
        if wrong:
            raise ModelError(
                f"the neuron set {self.name!r} does not fit the model {model.spec}",
                got=", ".join(wrong[:4]),
                expected=", ".join(f"{k}: {v}" for k, v in list(self.widths.items())[:4]),
            )

    def save(self, path: Path) -> None:
        """Write as JSON.

        Raises:
            StorageError: it cannot be written.
        """
        write_json(
            path,
            {
                "format": FORMAT,
                "name": self.name,
                "model": self.model,
                "fingerprint": self.fingerprint,
                "widths": dict(self.widths),
                "layers": {k: list(v) for k, v in self.layers.items()},
                "groups": {g: {k: list(v) for k, v in of.items()} for g, of in self.groups.items()},
                "details": dict(self.details),
                "order": list(self.widths),  # the file's keys are sorted: "10" before "2"
            },
        )

    def _with(
        self, other: NeuronSet, name: str, combine: Callable[[set[int], set[int]], set[int]]
    ) -> NeuronSet:
        if self.fingerprint != other.fingerprint or dict(self.widths) != dict(other.widths):
            raise UsageError(
                f"the neuron sets {self.name!r} and {other.name!r} are of different models",
                got=f"{self.model} ({self.fingerprint}) and {other.model} ({other.fingerprint})",
                expected="the same model, and the same layers looked at",
            )
        layers = {
            layer: tuple(sorted(combine(set(self.of(layer)), set(other.of(layer)))))
            for layer in self.widths
        }
        return replace(self, name=name, layers=layers, groups={}, details={})


def neuron_set(
    name: str, model: SpeechModel, layers: Mapping[str, Iterable[int]], **rest: Any
) -> NeuronSet:
    """A set for a loaded model; widths are the model's.

    Args:
        name: of the set.
        model: whose neurons they are.
        layers: indices by layer, in any order; layers without neurons count as looked at.
        rest: ``groups``, ``details``.

    Raises:
        UsageError: the model lacks a layer, or an index is out of range.
    """
    have = {info.name: info.width for info in model.layers}
    for layer in layers:
        if layer not in have:
            raise UsageError(
                f"the model {model.spec} has no layer {layer!r}",
                expected=", ".join(n for n in have if "inner" in n) or ", ".join(have),
            )
    return NeuronSet(
        name,
        model.spec,
        model.fingerprint,
        {layer: have[layer] for layer in layers},
        {layer: tuple(sorted({int(i) for i in indices})) for layer, indices in layers.items()},
        **rest,
    )


def load_set(path: str | Path) -> NeuronSet:
    """Read a set.

    Raises:
        StorageError: the file is missing or damaged.
        ConfigError: it is not a neuron set, or of a later version.
    """
    found = read_json(Path(path).expanduser())
    needed = ("format", "name", "model", "fingerprint", "widths", "layers")
    if not isinstance(found, dict) or not set(needed) <= set(found):
        raise ConfigError(
            f"{path} is not a neuron set",
            got=", ".join(sorted(found)[:8]) if isinstance(found, dict) else type(found).__name__,
            expected=", ".join(needed),
            fix="give a file that `voxstrata neurons` wrote, such as OUT/sets/NAME.json",
        )
    if not isinstance(found["format"], int) or found["format"] > FORMAT:
        raise ConfigError(
            f"{path} was written by a later version of voxstrata",
            got=f"format {found['format']}",
            expected=f"at most {FORMAT}",
            fix="update voxstrata",
        )
    try:
        order = found.get("order") or list(found["widths"])
        widths = {str(layer): int(found["widths"][layer]) for layer in order}
        return NeuronSet(
            str(found["name"]),
            str(found["model"]),
            str(found["fingerprint"]),
            widths,
            _indices(found["layers"], widths),
            {str(g): _indices(of, widths) for g, of in found.get("groups", {}).items()},
            dict(found.get("details", {})),
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError(
            f"{path} is a damaged neuron set", got=f"{type(error).__name__}: {error}"
        ) from None


def _indices(found: Mapping[str, Any], order: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    known = [layer for layer in order if layer in found]
    return {k: tuple(int(i) for i in found[k]) for k in [*known, *(set(found) - set(known))]}
