"""Speakers: seeded voice files in espeak-ng's own format.

espeak-ng combines a variant with ``en`` (``en+f2``) but refuses ``en-gb+f2``. A voice file that
holds the accent's lines *and* the timbre's is accepted for every accent, so each speaker gets
one whole file of his own (``voices/vx/NAME``, opened by its path, so the limit of 350 listed
voices does not matter).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxstrata.corpora.synthetic.draw import Draw
from voxstrata.errors import UsageError
from voxstrata.registry import unknown_name

ACCENTS = {
    "en-us": ("en-US", "en-us"),
    "en-gb": ("en", "en"),
    "en-gb-x-rp": ("en-GB-x-rp", "en-rp"),
    "en-gb-x-gbclan": ("en-GB-x-gbclan", "en-n"),
    "en-gb-x-gbcwmd": ("en-GB-x-gbcwmd", "en-wm"),
    "en-029": ("en-029", "en-wi"),
}
"""Accent to (language file of espeak-ng, phoneme table). Left out: en-gb-scotland, whose trilled
R depends on what was spoken before, and en-us-nyc, whose IPA is not a function of the phoneme."""

_ACCENT_LINES = (
    "dictrules",
    "intonation",
    "replace",
    "stressAdd",
    "stressAmp",
    "stressLength",
    "tunes",
)


@dataclass(frozen=True)
class Voice:
    """One speaker.

    Attributes:
        name: ``"spk0007"``.
        gender: ``"F"`` or ``"M"``.
        accent: one of :data:`ACCENTS`.
        pitch: base and top of the pitch range, Hz.
        formants: frequency, strength, width of formants 0 to 8, percent of espeak-ng's own.
        breath: strength of the noise at formants 1 to 8.
        breathw: bandwidths of that noise, Hz.
        tone: (Hz, gain up to 255) points of the voiced spectrum.
        voicing: strength of voiced sounds, percent.
        consonants: strength of unvoiced and voiced frication, percent.
        stress_add: what is added to the lengths of the eight kinds of syllable.
        rate: the speaker's usual words a minute.
    """

    name: str
    gender: Literal["F", "M"]
    accent: str
    pitch: tuple[int, int]
    formants: tuple[tuple[int, int, int], ...]
    breath: tuple[int, ...]
    breathw: tuple[int, ...]
    tone: tuple[tuple[int, int], ...]
    voicing: int
    consonants: tuple[int, int]
    stress_add: tuple[int, ...]
    rate: int

    def file(self, data_path: Path) -> str:
        """The voice file.

        Args:
            data_path: espeak-ng's original data, whose language file has the accent's rules.
        """
        language_file, phonemes = ACCENTS[self.accent]
        source = (data_path / "lang" / "gmw" / language_file).read_text(encoding="utf-8")
        kept = [" ".join(line.split()) for line in source.splitlines()]
        accent = [line for line in kept if line.split(" ")[0] in _ACCENT_LINES]
        lines = [
            f"language {self.accent}",
            f"name {self.name}",
            f"phonemes {phonemes}",
            *accent,
            f"pitch {self.pitch[0]} {self.pitch[1]}",
            # Both depend on what was spoken before (see engine.py).
            "flutter 0",
            "roughness 0",
            f"voicing {self.voicing}",
            f"consonants {self.consonants[0]} {self.consonants[1]}",
            _join("breath", self.breath),
            _join("breathw", self.breathw),
            _join("tone", (value for point in self.tone for value in point)),
            _join("stressAdd", self.stress_add),
            *(_join(f"formant {i}", triple) for i, triple in enumerate(self.formants)),
        ]
        return "\n".join(lines) + "\n"


def _join(key: str, values: Iterable[int]) -> str:
    return f"{key} {' '.join(map(str, values))}"


def voices(
    n: int, seed: int = 0, accents: Iterable[str] = tuple(ACCENTS), *, start: int = 0
) -> list[Voice]:
    """Distinct speakers, half of them female.

    Pitch and vocal-tract length are drawn from a Latin square (each of ``n`` equal bins used
    once a gender), so that no two speakers of one gender share both; the rest is drawn freely.
    Accents rotate over the speakers independently of gender.

    Args:
        n: how many.
        seed: equal seeds give equal voices.
        accents: which accents to use.
        start: number of the first name.

    Raises:
        UsageError: ``n`` is not positive or no accent is given.
        UnknownNameError: an accent is not in :data:`ACCENTS`.
    """
    wanted = list(accents)
    if n < 1 or not wanted:
        raise UsageError("no voices asked for", got=f"n={n}, accents={wanted}")
    for accent in wanted:
        if accent not in ACCENTS:
            raise unknown_name("accent", accent, list(ACCENTS))
    draw = Draw(seed, "voices", n)
    genders = draw.shuffled([("F", "M")[i % 2] for i in range(n)])
    # One block of all accents a gender, so that neither predicts the other.
    accent_of = {g: _repeat(draw, wanted, genders.count(g)) for g in ("F", "M")}
    bins = {g: (_bins(draw, genders.count(g)), _bins(draw, genders.count(g))) for g in ("F", "M")}
    return [
        _voice(
            f"spk{start + i:04d}",
            "F" if gender == "F" else "M",
            accent_of[gender].pop(),
            bins[gender][0].pop(),
            bins[gender][1].pop(),
            Draw(seed, "voice", n, i),
        )
        for i, gender in enumerate(genders)
    ]


def _repeat(draw: Draw, items: list[str], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        found.extend(draw.shuffled(items))
    return found[:count]


def _bins(draw: Draw, count: int) -> list[float]:
    return [(i + draw.unit()) / count for i in draw.shuffled(range(count))]


def _voice(
    name: str, gender: Literal["F", "M"], accent: str, low_high: float, tract: float, draw: Draw
) -> Voice:
    """One speaker at a place (pitch, vocal tract) of the square, both in [0, 1)."""
    # Ranges of adult habitual pitch; formants scale with the inverse of the vocal-tract length,
    # some 15 % between the means of the sexes. On a log scale, as hearing is.
    lowest, highest = (150.0, 240.0) if gender == "F" else (72.0, 138.0)
    base = lowest * (highest / lowest) ** low_high
    top = base * draw.between(1.22, 1.75)
    shortest, longest = (105.0, 127.0) if gender == "F" else (88.0, 109.0)
    scale = shortest * (longest / shortest) ** tract
    formants = [(_percent(scale, draw, 0.0), _near(100, draw, 0.25), _near(110, draw, 0.2))]
    # Formants 1 to 3 carry the vowels, so they vary less from the common scale than 4 to 8.
    for number in range(1, 9):
        spread = 0.035 if number <= 3 else 0.06
        strength = 100 - 4 * max(0, number - 3)
        formants.append(
            (_percent(scale, draw, spread), _near(strength, draw, 0.3), _near(105, draw, 0.28))
        )
    breathy = draw.unit() ** 2 * (14 if gender == "F" else 9)
    breath = tuple(round(breathy * draw.between(0.5, 1.5) * (1.0 - i / 12)) for i in range(8))
    tilt = draw.between(-1.0, 1.0)
    tone = (
        (_near(550, draw, 0.2), _clip(170 - 30 * tilt)),
        (_near(1300, draw, 0.15), _clip(135 + 5 * tilt)),
        (_near(2200, draw, 0.12), _clip(110 + 40 * tilt)),
        (_near(3400, draw, 0.1), _clip(105 + 60 * tilt)),
    )
    return Voice(
        name=name,
        gender=gender,
        accent=accent,
        pitch=(round(base), round(top)),
        formants=tuple(formants),
        breath=breath,
        breathw=tuple(_near(w, draw, 0.25) for w in (200, 200, 300, 400, 400, 500, 600, 600)),
        tone=tone,
        voicing=round(100 - 2.2 * breathy),
        consonants=(_near(95, draw, 0.4), _near(95, draw, 0.4)),
        stress_add=tuple(round(draw.between(-12, 22)) for _ in range(8)),
        rate=round(draw.between(150, 205)),
    )


def _percent(scale: float, draw: Draw, spread: float) -> int:
    return round(scale * (1.0 + draw.between(-spread, spread)))


def _near(value: float, draw: Draw, spread: float) -> int:
    return round(value * (1.0 + draw.between(-spread, spread)))


def _clip(value: float) -> int:
    return max(0, min(255, round(value)))
