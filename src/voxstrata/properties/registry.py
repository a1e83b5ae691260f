"""Properties by name: a name is ``NAME`` or ``NAME:ARGUMENT`` (``cca-tier:channel``).

An entry points at a factory that takes the argument ("" without one) and returns a property.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from voxstrata.errors import UsageError
from voxstrata.registry import Registry

if TYPE_CHECKING:
    from voxstrata.properties.property import Property

PropertyFactory = Callable[[str], "Property"]

PROPERTIES: Registry[PropertyFactory] = Registry("property", "voxstrata.properties")

for _name, _target, _summary in (
    ("cca-mel", "views.acoustic:mel", "80 log-mel filters, pooled to the layer's frames"),
    ("cca-f0", "views.acoustic:f0", "fundamental frequency of voiced frames"),
    ("cca-energy", "views.acoustic:energy", "level of the frame, dB"),
    ("cca-tilt", "views.acoustic:tilt", "spectral tilt, dB an octave"),
    ("linear-mel", "linear.frames:mel", "ridge regression of the 80 log-mel filters"),
    ("linear-f0", "linear.frames:f0", "ridge regression of the fundamental frequency"),
    ("linear-energy", "linear.frames:energy", "ridge regression of the level"),
    ("linear-tilt", "linear.frames:tilt", "ridge regression of the spectral tilt"),
    ("speaking-rate", "views.acoustic:rate", "phones a second of the recording"),
    ("cca-intra", "cca.layers:cca_intra", "the model's own layer 0, the local encoder"),
    ("cca-inter", "cca.layers:cca_inter", "the same layer of the other models"),
    ("cca-phone", "cca.labels:cca_phone", "phone identity of phone segments"),
    (
        "mi-phone",
        "information.properties:mi_phone",
        "mutual information of k-means codes and phones",
    ),
    (
        "pnmi",
        "information.properties:pnmi",
        "phone-normalised mutual information of frame codes (HuBERT units)",
    ),
    ("linear-phone", "linear.labels:linear_phone", "linear probe of phones, with control labels"),
    (
        "linear-phone-frame",
        "linear.frame_phones:linear_phone_frame",
        "linear probe of the phone at each frame",
    ),
    ("abx-phone", "tasks.abx_property:abx_phone", "ABX of phones, frames compared by DTW"),
    ("abx-phone-mean", "tasks.abx_property:abx_phone_mean", "ABX of phones, segment means"),
    ("cca-word", "cca.labels:cca_word", "word identity of word segments"),
    ("mi-word", "information.properties:mi_word", "mutual information of k-means codes and words"),
    ("linear-word", "linear.labels:linear_word", "linear probe of words, with control labels"),
    (
        "cca-agwe",
        "views.lexical:agwe",
        "acoustically grounded word embeddings (--vectors agwe=FILE)",
    ),
    ("cca-awe", "awe.view:cca_awe", "acoustic word embeddings trained on the corpus itself"),
    (
        "word-discrimination",
        "tasks.discrimination_property:word_discrimination",
        "same word or another, by distance of segments (average precision)",
    ),
    (
        "word-segmentation",
        "tasks.segmentation_property:word_segmentation",
        "word boundaries, unsupervised",
    ),
    ("cca-glove", "views.lexical:glove", "GloVe vectors of words (--vectors glove=FILE)"),
    ("cca-text", "views.lexical:text", "word vectors of the corpus's own text"),
    (
        "cca-semantic",
        "views.lexical:semantic",
        "semantic attributes of words (--attributes semantic=FILE)",
    ),
    (
        "cca-syntactic",
        "views.lexical:syntactic",
        "syntactic attributes (--attributes syntactic=FILE)",
    ),
    (
        "wordsim",
        "tasks.similarity_properties:wordsim",
        "word similarity against human scores (--wordsim FILE)",
    ),
    (
        "wordsim-topics",
        "tasks.planted_properties:wordsim_topics",
        "word similarity, planted topics",
    ),
    (
        "sentence-similarity",
        "tasks.similarity_properties:sentence_similarity",
        "sentence similarity against human scores (--sentences FILE)",
    ),
    (
        "sentences-topics",
        "tasks.planted_properties:sentences_topics",
        "sentence similarity, planted topics",
    ),
    ("cca-speaker", "views.tier_properties:speaker", "who speaks"),
    ("linear-speaker", "linear.labels:linear_speaker", "linear probe of the speaker"),
    ("cca-gender", "views.tier_properties:gender", "gender, on new speakers"),
    ("cca-emotion", "views.tier_properties:emotion", "emotion or speaking style"),
    ("cca-channel", "views.tier_properties:channel", "recording channel"),
    (
        "variance-shares",
        "disentanglement.properties:shares",
        "variance by phone, speaker and interaction",
    ),
    ("phone-gap", "disentanglement.properties:gap", "phone probe: new speakers against the same"),
    ("phone-speaker-angles", "disentanglement.properties:angles", "phone and speaker subspaces"),
    ("cca-tier", "views.tier_properties:tier", "any scalar tier of the corpus"),
    (
        "cca-table",
        "views.tier_properties:table",
        "a table of values by utterance or speaker (--table NAME=FILE)",
    ),
    ("cca-vectors", "views.lexical:vectors", "any word-vector file (--vectors NAME=FILE)"),
    (
        "cca-attributes",
        "views.lexical:attributes",
        "any word-attribute file (--attributes NAME=FILE)",
    ),
    ("cca-model", "views.tier_properties:model", "the embedding of another model"),
    ("linear", "linear.labels:linear_tier", "linear probe of any scalar tier"),
    ("mi", "information.properties:mi_tier", "mutual information with any tier"),
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
