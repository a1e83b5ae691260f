"""A model some of whose neurons are changed, as a model like any other."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from voxstrata.errors import ModelError
from voxstrata.files import fingerprint
from voxstrata.models.base import SpeechModel, Wave, layer
from voxstrata.models.batching import check_audio
from voxstrata.models.edited.edit import Edit
from voxstrata.models.edited.hooks import encode_changed, places_of


class EditedModel:
    """Everything of the model beneath, with an edit inside each forward pass.

    Taps show the edit, and so do all layers after it. The modules are those of the model beneath
    (no copy); outside :meth:`encode` nothing of it is touched.

    Args:
        unedited: the model beneath, which may be edited itself.
        edit: what is changed.
        spec: text the model is named by.
        facts: further facts for the run record.

    Raises:
        ModelError: the model lacks a layer or a neuron of the edit.
    """

    family = "edited"

    def __init__(
        self, unedited: SpeechModel, edit: Edit, spec: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        for name, place in places_of(unedited, edit.neurons).items():
            if edit.neurons[name][-1] >= place.width:
                raise ModelError(
                    f"the model {unedited.spec!r} has too few neurons in {name} for this edit",
                    got=f"{place.width} neurons, and index {edit.neurons[name][-1]}",
                    expected=f"indices from 0 to {place.width - 1}",
                )
        self.unedited, self.edit, self.spec = unedited, edit, spec
        self.layers = unedited.layers
        self.flops_per_second = unedited.flops_per_second
        self.fingerprint = fingerprint([unedited.fingerprint, edit.digest()])
        self._facts = dict(facts or {})
        self.details: Mapping[str, Any] = {
            **unedited.details,
            "edited": {
                "base": unedited.spec,
                "base_fingerprint": unedited.fingerprint,
                "kind": edit.kind,
                "set": edit.name,
                "neurons": {name: len(chosen) for name, chosen in edit.neurons.items()},
                "factor": edit.factor,
                "seed": edit.seed if edit.by_recording else None,
                **self._facts,
            },
        }

    @property
    def minimum(self) -> int:
        """Fewest samples the model beneath can be run on; 0 where it does not say."""
        return int(getattr(self.unedited, "minimum", 0))

    def encode(self, audio: Sequence[Wave], layers: Sequence[str]) -> list[dict[str, Tensor]]:
        """Layer outputs of each recording, as if it were run alone; see the protocol.

        Raises:
            UnknownNameError: there is no such layer; AudioError: a recording cannot be run.
        """
        for name in layers:
            layer(self, name)
        if not layers:
            return self.unedited.encode(audio, layers)
        if not self.edit.by_recording:
            return encode_changed(self.unedited, audio, layers, self.edit.changes)
        found: list[dict[str, Tensor]] = []
        for wave in check_audio(audio, self.minimum, self.spec):
            changes = functools.partial(self.edit.changes, wave)
            found += encode_changed(self.unedited, [wave], layers, changes)
        return found

    def frames(self, layer: str, samples: int) -> int:
        """Number of frames T of ``layer`` for ``samples`` samples."""
        return self.unedited.frames(layer, samples)

    def to(self, device: str, dtype: str) -> EditedModel:
        """This model on ``device`` in ``dtype``; the original stays as it is.

        Raises:
            UsageError: no such device or dtype, or rounded weights would have to be widened.
        """
        moved = self.unedited.to(device, dtype)
        if moved is self.unedited:
            return self
        return EditedModel(moved, self.edit, self.spec, self._facts)
