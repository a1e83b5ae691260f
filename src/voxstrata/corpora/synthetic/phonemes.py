"""espeak-ng's phoneme mnemonics to ARPAbet and IPA, strictly: an unknown one is an error."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from voxstrata.errors import LabelError

SILENCE = "SIL"

ARPABET = (
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G",
    "HH", "IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T",
    "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
"""The 39 phones of the CMU dictionary, without stress."""

_STRESS = "',%="
_RHOTIC_ACCENTS = frozenset({"en-us"})


@dataclass(frozen=True)
class Phone:
    """How one phoneme is labelled.

    Attributes:
        arpabet: one or two phones; two where ARPAbet has no single sign.
        ipa: as the engine transcribes it in this accent.
        share: part of the duration that belongs to the first of two phones.
    """

    arpabet: tuple[str, ...]
    ipa: str
    share: float = 1.0


def bare(mnemonic: str) -> str:
    """The mnemonic without its stress marks."""
    return mnemonic.lstrip(_STRESS)


@functools.cache
def is_pause(mnemonic: str) -> bool:
    """Whether this "phoneme" is one of espeak-ng's pauses."""
    return mnemonic in _table()["pauses"]


@functools.cache
def joins_next(mnemonic: str) -> bool:
    """Whether the span belongs to the phoneme after it."""
    return bare(mnemonic) in _table()["next"]


@functools.cache
def label(mnemonic: str, accent: str, following: str = "") -> Phone:
    """The labels of a phoneme.

    Args:
        mnemonic: espeak-ng's, stress marks allowed.
        accent: as in :data:`voxstrata.corpora.synthetic.voices.ACCENTS`.
        following: the mnemonic after it in the same word; before an R, an r-coloured vowel has
            no R of its own (espeak-ng's IPA keeps it in a few vowels; the IPA here follows).

    Raises:
        LabelError: the table has no such phoneme.
    """
    after = bare(following)
    return _label(bare(mnemonic), accent, after if after in ("r", "r-") else "")


@functools.cache
def _label(mnemonic: str, accent: str, r: str) -> Phone:
    entry = _table()["phonemes"].get(mnemonic)
    if entry is None:
        raise LabelError(
            f"espeak-ng spoke a phoneme that has no ARPAbet equivalent here: {mnemonic!r}",
            got=f"{mnemonic!r} in accent {accent}",
            expected="a phoneme of corpora/synthetic/phonemes.yaml",
            fix="add a line for it there",
        )
    ipa = entry.get("accents", {}).get(accent, entry["ipa"])
    arpabet, share = entry["arpabet"], entry.get("share", 0.6)
    rhotic = entry.get("rhotic")
    if rhotic and accent in _RHOTIC_ACCENTS:
        arpabet, ipa, share = rhotic["arpabet"], rhotic["ipa"], 0.6
        if r:
            arpabet = arpabet.removesuffix(" R")
        if r == "r-" or (r and not rhotic.get("keeps_r")):
            ipa = ipa.removesuffix("ɹ")
    phones = tuple(arpabet.split())
    return Phone(phones, ipa, share if len(phones) == 2 else 1.0)


@functools.cache
def _table() -> Mapping[str, Any]:
    import yaml

    source = resources.files("voxstrata.corpora.synthetic").joinpath("phonemes.yaml")
    table: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    return {
        "phonemes": table["phonemes"],
        "next": frozenset(table["next"]),
        "pauses": frozenset(table["pauses"]),
    }
