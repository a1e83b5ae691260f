"""What a synthetic corpus is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from voxstrata.config import Config, build
from voxstrata.corpora.synthetic.voices import ACCENTS
from voxstrata.errors import ConfigError
from voxstrata.registry import unknown_name

PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"speakers": 4, "sentences": 2, "prompts": 1, "keywords": 1, "commands": 1},
    "demo": {"speakers": 24, "sentences": 3, "prompts": 1, "keywords": 1, "commands": 1},
    "small": {"speakers": 100, "sentences": 12, "prompts": 3, "keywords": 4, "commands": 4},
    "large": {"speakers": 400, "sentences": 50, "prompts": 5, "keywords": 20, "commands": 16},
}
"""Sizes by name: 20, 144, 2,300 and 36,400 utterances."""

_Count = Annotated[int, Field(ge=0, le=10_000)]


class SyntheticConfig(Config):
    """A synthetic corpus, whole: equal configurations give equal corpora.

    Attributes:
        seed: of everything.
        speakers: number of voices.
        sentences: texts of the generator that each speaker reads.
        prompts: texts that every speaker reads (the same-prompt subset).
        keywords: single words of a list of twenty that each speaker says.
        commands: spoken commands, with intent and slots, of each speaker.
        readings: by how many different speakers each sentence and command is read at least
            (where there are as many speakers), so that no text belongs to one speaker.
        accents: rotated over the speakers.
        channels: how many combinations of equaliser, room and noise; 1 is the clean one alone.
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    speakers: Annotated[int, Field(ge=1, le=5_000)] = 24
    sentences: _Count = 3
    prompts: _Count = 1
    keywords: _Count = 1
    commands: _Count = 1
    readings: Annotated[int, Field(ge=1, le=100)] = 2
    accents: tuple[str, ...] = tuple(ACCENTS)
    channels: Annotated[int, Field(ge=1, le=100)] = 16

    @field_validator("accents")
    @classmethod
    def _known_accents(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("at least one accent is needed")
        for accent in value:
            if accent not in ACCENTS:
                raise ValueError(f"unknown accent {accent!r}; known: {', '.join(ACCENTS)}")
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> SyntheticConfig:
        if self.utterances == 0:
            raise ValueError("sentences, prompts, keywords and commands are all zero")
        return self

    @property
    def utterances(self) -> int:
        """How many utterances the corpus has."""
        each = self.sentences + self.prompts + self.keywords + self.commands
        return self.speakers * each

    @classmethod
    def preset(cls, name: str, **changes: Any) -> SyntheticConfig:
        """A named size, perhaps with changes.

        Raises:
            UnknownNameError: no such preset.
            ConfigError: a change is unknown or wrong.
        """
        if name not in PRESETS:
            raise unknown_name("size of the synthetic corpus", name, list(PRESETS))
        return build(cls, {**PRESETS[name], **changes}, source=f"synthetic:{name}")

    @classmethod
    def parse(cls, text: str) -> SyntheticConfig:
        """The text form: ``synthetic[:PRESET][,key=value...]``, lists joined by ``+``.

        Examples:
            ``synthetic``, ``synthetic:demo``, ``synthetic:small,seed=3,accents=en-us+en-gb``.

        Raises:
            ConfigError: the text is malformed, or a key or value is wrong.
            UnknownNameError: no such preset.
        """
        head, *pairs = text.split(",")
        kind, _, preset = head.partition(":")
        if kind != "synthetic":
            raise ConfigError(
                f"{text!r} does not name a synthetic corpus",
                expected="synthetic[:PRESET][,key=value...]",
            )
        changes: dict[str, Any] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals:
                raise ConfigError(
                    f"{text!r}: an option has no value", got=pair, expected="key=value"
                )
            changes[key.strip()] = value.split("+") if key.strip() == "accents" else value.strip()
        return cls.preset(preset or "demo", **changes)
