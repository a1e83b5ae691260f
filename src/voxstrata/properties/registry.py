"""Properties by name: a name is ``NAME`` or ``NAME:ARGUMENT`` (``cca-tier:channel``).

An entry points at a factory that takes the argument ("" without one) and returns a property.
"""

from __future__ import annotations

from collections.abc import Callable

from voxstrata.errors import UsageError
from voxstrata.properties.property import Property
from voxstrata.registry import Registry

PropertyFactory = Callable[[str], Property]

PROPERTIES: Registry[PropertyFactory] = Registry("property", "voxstrata.properties")

for _name, _target, _summary in (
    ("cca-mel", "acoustic:mel", "80 log-mel filters, pooled to the layer's frames"),
    ("cca-f0", "acoustic:f0", "fundamental frequency of voiced frames"),
    ("cca-energy", "acoustic:energy", "level of the frame, dB"),
    ("cca-tilt", "acoustic:tilt", "spectral tilt, dB an octave"),
    ("linear-mel", "predict_frames:mel", "ridge regression of the 80 log-mel filters"),
    ("linear-f0", "predict_frames:f0", "ridge regression of the fundamental frequency"),
    ("linear-energy", "predict_frames:energy", "ridge regression of the level"),
    ("linear-tilt", "predict_frames:tilt", "ridge regression of the spectral tilt"),
    ("speaking-rate", "acoustic:rate", "phones a second of the recording"),
    ("cca-intra", "cca_layers:cca_intra", "the model's own layer 0, the local encoder"),
    ("cca-inter", "cca_layers:cca_inter", "the same layer of the other models"),
    ("cca-phone", "cca_labels:cca_phone", "phone identity of phone segments"),
    ("mi-phone", "mi:mi_phone", "mutual information of k-means codes and phones"),
    ("pnmi", "mi:pnmi", "phone-normalised mutual information of frame codes (HuBERT units)"),
    ("linear-phone", "predict:linear_phone", "linear probe of phones, with control labels"),
    ("abx-phone", "task_abx:abx_phone", "ABX of phones, frames compared by DTW"),
    ("abx-phone-mean", "task_abx:abx_phone_mean", "ABX of phones, segment means"),
    ("cca-word", "cca_labels:cca_word", "word identity of word segments"),
    ("mi-word", "mi:mi_word", "mutual information of k-means codes and words"),
    ("linear-word", "predict:linear_word", "linear probe of words, with control labels"),
    ("cca-agwe", "lexical:agwe", "acoustically grounded word embeddings (a file)"),
    ("cca-awe", "awe.view:cca_awe", "acoustic word embeddings trained on the corpus itself"),
    ("word-discrimination", "task_discrimination:word_discrimination", "same word or another"),
    ("word-segmentation", "task_segmentation:word_segmentation", "word boundaries, unsupervised"),
    ("cca-glove", "lexical:glove", "GloVe vectors of words (a file)"),
    ("cca-text", "lexical:text", "word vectors of the corpus's own text"),
    ("cca-semantic", "lexical:semantic", "semantic attributes of words (a file)"),
    ("cca-syntactic", "lexical:syntactic", "syntactic attributes of words (a file)"),
    ("wordsim", "task_similarity:wordsim", "word similarity against human scores (a list)"),
    ("wordsim-topics", "task_planted:wordsim_topics", "word similarity, planted topics"),
    (
        "sentence-similarity",
        "task_similarity:sentence_similarity",
        "sentence similarity against human scores (a list)",
    ),
    ("sentences-topics", "task_planted:sentences_topics", "sentence similarity, planted topics"),
    ("cca-speaker", "tier_views:speaker", "who speaks"),
    ("linear-speaker", "predict:linear_speaker", "linear probe of the speaker"),
    ("cca-gender", "tier_views:gender", "gender, on new speakers"),
    ("cca-emotion", "tier_views:emotion", "emotion or speaking style"),
    ("cca-channel", "tier_views:channel", "recording channel"),
    ("variance-shares", "disentangle:shares", "variance by phone, speaker and interaction"),
    ("phone-gap", "disentangle:gap", "phone probe: new speakers against the same"),
    ("phone-speaker-angles", "disentangle:angles", "phone and speaker subspaces"),
    ("cca-tier", "tier_views:tier", "any scalar tier of the corpus"),
    ("cca-table", "tier_views:table", "a table of values by utterance or speaker"),
    ("cca-vectors", "lexical:vectors", "any word-vector file"),
    ("cca-attributes", "lexical:attributes", "any word-attribute file"),
    ("cca-model", "tier_views:model", "the embedding of another model"),
    ("linear", "predict:linear_tier", "linear probe of any scalar tier"),
    ("mi", "mi:mi_tier", "mutual information with any tier"),
):
    PROPERTIES.add(_name, f"voxstrata.properties.{_target}", _summary)

TAKES_ARGUMENT = frozenset(
    {"cca-tier", "cca-table", "cca-vectors", "cca-attributes", "cca-model", "linear", "mi"}
)
"""Names that mean nothing without an argument."""

TIER_SHORTCUTS = frozenset({"speaker", "gender", "emotion", "channel"})
"""Tiers whose ``cca-tier:TIER`` is also called ``cca-TIER``."""


def make_property(name: str) -> Property:
    """The property called ``name``.

    Raises:
        UnknownNameError: no such property.
        UsageError: an argument is needed or not taken (raised by the factory).
    """
    base, _, argument = name.partition(":")
    return PROPERTIES.get(base)(argument)


def no_argument(name: str, argument: str) -> None:
    """Refuse an argument to a property that takes none.

    Raises:
        UsageError: there is one.
    """
    if argument:
        raise UsageError(
            f"the property {name!r} takes no argument",
            got=f"{name}:{argument}",
            expected=name,
        )
