"""Training objectives by name."""

from __future__ import annotations

from voxstrata.registry import Registry
from voxstrata.training.objective import ObjectiveKind

OBJECTIVES: Registry[ObjectiveKind] = Registry("training objective", "voxstrata.objectives")
_HERE = "voxstrata.training.objectives"
for _name, _target, _summary in (
    ("aam", "supervised:KIND", "speaker classification with additive angular margin softmax"),
    ("dino", "dino.kind:KIND", "self-distillation without labels (DINO, RDINO)"),
    ("sdpn", "dino.sdpn:KIND", "self-distillation against prototypes (SDPN)"),
    ("simclr", "simclr:KIND", "contrastive: two crops against all others of the batch"),
    ("moco", "moco:KIND", "contrastive: against a queue of a momentum encoder"),
    ("angular", "angular:KIND", "angular prototypical, optionally augmentation-adversarial"),
    ("masked", "masked.kind:KIND", "masked prediction of cluster codes (MelHuBERT), denoising"),
    ("distil", "masked.distil:KIND", "the code probabilities of a larger MelHuBERT"),
):
    OBJECTIVES.add(_name, f"{_HERE}.{_target}", _summary)
