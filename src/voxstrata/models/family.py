"""The seam through which model families are added: one file and one registry line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from voxstrata.models.base import SpeechModel
from voxstrata.registry import Registry

SEEDS = 2**63
"""Seeds of untrained twins lie below: torch takes no more."""

WIDEST = 2**16
"""Numbers of widths beyond this are mistakes: a matrix of two of them fills 17 GB."""


@dataclass(frozen=True)
class ModelSpec:
    """The text a model is named by, taken apart.

    Grammar: ``[random:]BASE[@REVISION][@CUT][,key=value...]``.

    Attributes:
        text: as the user wrote it.
        base: hub id, registered name, local directory or checkpoint file.
        random: whether the untrained, seeded twin is meant.
        revision: hub revision (branch, tag, commit), if given.
        cut: name of the last layer to keep; blocks above it never run.
        options: family options such as ``seed=1`` or ``final_norm=true``, still as text; each
            family validates them into its own frozen config.
    """

    text: str
    base: str
    random: bool = False
    revision: str | None = None
    cut: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


class Family(Protocol):
    """A group of models that are built and read the same way."""

    name: str

    def names(self) -> Mapping[str, str]:
        """Registered model names of this family, each with a one-line summary."""
        ...

    def recognises(self, spec: ModelSpec) -> bool:
        """Whether ``spec.base`` (a registered name, a local file or directory, or a hub id) is
        of this family; must not touch the network, import torch only if a file must be read."""
        ...

    def load(self, spec: ModelSpec) -> SpeechModel:
        """Build the model (the random twin where ``spec.random``), in eval mode, float32, CPU.

        Raises:
            ModelError: it cannot be found or built.
            CheckpointError: tensors are missing, unexpected or of the wrong shape.
            ConfigError: an option is unknown or wrong.
        """
        ...


FAMILIES: Registry[Family] = Registry("model family", "voxstrata.models")
FAMILIES.add(
    "huggingface",
    "voxstrata.models.huggingface.family:FAMILY",
    "transformers speech encoders: wav2vec 2.0, HuBERT, WavLM, data2vec, Whisper, ...",
)
FAMILIES.add("ecapa", "voxstrata.models.ecapa.family:FAMILY", "ECAPA-TDNN speaker encoders")
FAMILIES.add("melhubert", "voxstrata.models.melhubert.family:FAMILY", "MelHuBERT")
FAMILIES.add("ivector", "voxstrata.models.ivector.family:FAMILY", "i-vector extractors")
FAMILIES.add("baseline", "voxstrata.models.baseline:FAMILY", "log-mel and MFCC features")
FAMILIES.add("acoustic", "voxstrata.models.acoustic:FAMILY", "F0, energy, spectral tilt, ...")
FAMILIES.add("edited", "voxstrata.models.edited.family:FAMILY", "models with neurons changed")
