"""Claims by name: a line each."""

from __future__ import annotations

from voxstrata.registry import Registry
from voxstrata.studies.claims.claim import Claim

CLAIMS: Registry[Claim] = Registry("claim", "voxstrata.claims")
CLAIMS.add(
    "curves-by-objective",
    "voxstrata.studies.claims.pasad_curves:by_objective",
    "property curves differ by pre-training objective",
)
CLAIMS.add(
    "curves-by-modality",
    "voxstrata.studies.claims.pasad_curves:by_modality",
    "property curves differ by modality of pre-training",
)
CLAIMS.add(
    "curves-by-data",
    "voxstrata.studies.claims.pasad_curves:by_data",
    "curves go with the objective rather than with the amount of data",
)
CLAIMS.add(
    "single-layer-against-all",
    "voxstrata.studies.claims.single_layer:single_layer",
    "a single layer does as well as the learned sum",
)
CLAIMS.add(
    "cca-guides-layers",
    "voxstrata.studies.claims.layer_guides:content_layers",
    "CCA curves foretell which layers do a task well",
)
CLAIMS.add(
    "cca-guides-speaker-layers",
    "voxstrata.studies.claims.layer_guides:speaker_layers",
    "speaker curves foretell layers for SID and ASV",
)
