"""Claims by name: a line each."""

from __future__ import annotations

from voxstrata.registry import Registry
from voxstrata.studies.claims.claim import Claim

CLAIMS: Registry[Claim] = Registry("claim", "voxstrata.claims")

for _name, _target, _summary in (
    (
        "speaker-against-speech",
        "speaker_against_speech:speaker_against_speech",
        "speaker models know better who speaks, WavLM what is said",
    ),
    (
        "content-speaker-uncorrelated",
        "content_speaker:content_speaker_uncorrelated",
        "content and speaker scores are uncorrelated over models",
    ),
    (
        "phone-depth",
        "phone_depth:phone_depth",
        "phones peak early in ECAPA, in the upper half of speech SSL",
    ),
    (
        "similar-block",
        "similar_block:similar_block",
        "a block of similar layers in WavLM Large, none in Base and Base+",
    ),
    (
        "fourth-layer",
        "fourth_layer:fourth_layer",
        "the fourth layer of supervised and DINO ECAPA differs most",
    ),
    (
        "embedding-similar",
        "embedding_similar:embedding_similar",
        "the speaker embedding is like early and late layers of WavLM",
    ),
    (
        "contrastive-beside-dino",
        "model_pairs:contrastive_beside_dino",
        "contrastive speaker SSL beside DINO",
    ),
    ("hubert-beside-wavlm", "model_pairs:hubert_beside_wavlm", "HuBERT beside WavLM"),
):
    CLAIMS.add(_name, f"voxstrata.studies.claims.{_target}", _summary)
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
CLAIMS.add(
    "clusters-match-classes",
    "voxstrata.studies.claims.cluster_classes:clusters_match_classes",
    "clusters match broad phone classes and gender",
)
CLAIMS.add(
    "neurons-above-chance",
    "voxstrata.studies.claims.speaker_neurons:neurons_above_chance",
    "more speaker neurons than under dealt labels",
)
CLAIMS.add(
    "protection-keeps-sid",
    "voxstrata.studies.claims.protected_sid:protection_keeps_sid",
    "protected pruning keeps SID",
)
CLAIMS.add(
    "within-gender",
    "voxstrata.studies.claims.speaker_neurons:within_gender",
    "speaker neurons that remain within one gender",
)
