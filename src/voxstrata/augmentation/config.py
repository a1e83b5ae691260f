"""What is done to training speech, as configuration; the published recipes are presets.

Sources of the presets: the training code and papers of wespeaker, 3D-Speaker, RDINO,
SpeechBrain and TaoRuijie/ECAPA-TDNN, compared in ``docs/augmentation.md``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from voxstrata.augmentation.registry import STEPS
from voxstrata.config import Config, build
from voxstrata.registry import unknown_name

# wespeaker draws one of all MUSAN files: 930 noises, 660 pieces of music, 426 of speech.
_ANY_MUSAN = {"noise": 930 / 2016, "music": 660 / 2016, "speech": 426 / 2016}

Range = tuple[float, float]
Count = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


class _Presets(Config):
    """A configuration that may start from a named recipe: key ``preset``, or :meth:`preset`."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The settings of a recipe.

        Args:
            name: key of :attr:`presets`.
            changes: keys that replace the recipe's own.

        Raises:
            UnknownNameError: no such recipe.
            ConfigError: a change does not validate.
        """
        if name not in cls.presets:
            raise unknown_name("augmentation preset", name, list(cls.presets))
        return build(cls, {**cls.presets[name], **changes}, source=f"preset {name!r}")

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preset") is None:
            return given
        name = given["preset"]
        if not isinstance(name, str) or name not in cls.presets:
            raise ValueError(f"preset must be one of {', '.join(cls.presets)}, not {name!r}")
        return {**cls.presets[name], **{k: v for k, v in given.items() if k != "preset"}}


class AugmentConfig(_Presets):
    """Changes to waveforms.

    The key ``preset`` (YAML) starts from a recipe, whose values other keys replace; what is kept
    and recorded is the resulting values.

    Attributes:
        probability: that a crop is changed at all.
        kinds: weights of what is done to it; one is drawn. ``"none"``, or steps joined by ``+``
            and done from left to right (:data:`voxstrata.augmentation.registry.STEPS`).
        snr_noise, snr_music, snr_speech, snr_babble: signal-to-noise ratios, dB, uniform; in
            babble each voice has its own.
        babble_voices: fewest and most recordings summed to babble.
        babble_pool: how many of the recordings offered for babble are used, drawn once by
            ``seed``: so many stay in memory; ``None`` for all.
        room_gain_db: gain drawn on top of a room; ``None`` for none.
        peak_normalise: scale changed crops to a peak of 1.
        power_floor: added to mean powers before they are compared.
        drop_bands: fewest and most bands that ``drop_freq`` takes out.
        drop_band_hz: their width.
        drop_chunks: fewest and most stretches that ``drop_chunk`` sets to zero.
        drop_chunk_samples: shortest and longest stretch.
        musan, rirs: texts of a MUSAN corpus and of room responses; sounds and rooms are made
            by voxstrata where they are not given.
        seed: of the sounds and rooms that are made, and of the babble pool.
    """

    probability: Annotated[float, Field(ge=0, le=1)] = 0.6
    kinds: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: {"room": 1.0, **_ANY_MUSAN}
    )
    snr_noise: Range = (0.0, 15.0)
    snr_music: Range = (5.0, 15.0)
    snr_speech: Range = (10.0, 30.0)
    snr_babble: Range = (13.0, 20.0)
    babble_voices: Count = (3, 8)
    babble_pool: Annotated[int, Field(ge=1)] | None = 96
    room_gain_db: Range | None = None
    peak_normalise: bool = True
    power_floor: Annotated[float, Field(ge=0)] = 1e-4
    drop_bands: Count = (1, 3)
    drop_band_hz: Annotated[float, Field(gt=0, le=4000)] = 800.0
    drop_chunks: Count = (1, 5)
    drop_chunk_samples: Count = (1000, 2000)
    musan: str | None = None
    rirs: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "wespeaker": {},
        "wespeaker-dino": {"probability": 1.0},
        "3dspeaker": {
            "probability": 0.8,
            "kinds": {"noise": 1.0, "room": 1.0, "room+noise": 1.0},
            "power_floor": 1e-6,
        },
        "rdino": {
            "probability": 5 / 6,
            # Of six: three get one change (a quarter rooms, the rest noises), two get both.
            "kinds": {
                "room": 0.75, "noise": 0.75, "speech": 0.75, "music": 0.75,
                "room+noise": 2 / 3, "room+speech": 2 / 3, "room+music": 2 / 3,
            },
            "snr_speech": (13.0, 20.0),
            "room_gain_db": (-7.0, 3.0),
            "peak_normalise": False,
            # 1e-4 on samples of 16 bits.
            "power_floor": 1e-13,
        },
        "taoruijie": {
            "probability": 5 / 6,
            "kinds": {
                "room": 1.0, "babble": 1.0, "music": 1.0, "noise": 1.0, "babble+music": 1.0,
            },
            "peak_normalise": False,
        },
        "speechbrain": {
            "probability": 0.8,
            "kinds": {"noise": 1.0, "room": 1.0, "drop_freq": 1.0, "drop_chunk": 1.0},
            "peak_normalise": False,
            "power_floor": 1e-10,
        },
        "channels": {
            "probability": 0.95,
            "kinds": {
                "channel": 6.0, "channel+babble": 1.0, "babble": 1.0, "music": 1.0, "noise": 1.0,
                "room+noise": 1.0,
            },
            "snr_noise": (3.0, 20.0),
            "snr_babble": (13.0, 25.0),
            "snr_music": (5.0, 20.0),
        },
    }  # fmt: skip
    """Published recipes, and ``channels``: strong random channels, so that none tells a speaker."""

    @field_validator("kinds")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        if not sum(value.values()) > 0:
            raise ValueError("kinds need at least one positive weight")
        for kind in value:
            for part in () if kind == "none" else kind.split("+"):
                if part not in STEPS:
                    names = ", ".join(["none", *STEPS.names()])
                    raise ValueError(f"{kind!r} must be made of {names}, joined by +")
        return value

    @field_validator(
        "snr_noise", "snr_music", "snr_speech", "snr_babble", "room_gain_db",
        "babble_voices", "drop_bands", "drop_chunks", "drop_chunk_samples",
    )  # fmt: skip
    @classmethod
    def _ordered(cls, value: Range | None) -> Range | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("a range goes from its lowest to its highest value")
        return value


class SpecAugmentConfig(_Presets):
    """Masks on features (SpecAugment: Park et al., Interspeech 2019, without time warping).

    Attributes:
        probability: that features are masked at all.
        time_masks: how many stretches of frames.
        max_frames: longest stretch; lengths are uniform from 0.
        freq_masks: how many bands of bins.
        max_bins: widest band; widths are uniform from 0.
        fill: what masked values become: "zero"; "mean" of all values; "lowest" of all values (what
            zeros of linear mel energies become under the logarithm).
    """

    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    time_masks: Annotated[int, Field(ge=0)] = 1
    max_frames: Annotated[int, Field(ge=0)] = 9
    freq_masks: Annotated[int, Field(ge=0)] = 1
    max_bins: Annotated[int, Field(ge=0)] = 7
    fill: Literal["zero", "mean", "lowest"] = "zero"

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "taoruijie": {},
        "sdpn": {"probability": 0.2, "max_frames": 9, "max_bins": 5, "fill": "lowest"},
    }
    """Published variants."""
