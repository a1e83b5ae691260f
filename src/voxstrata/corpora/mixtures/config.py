"""What mixtures are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from voxstrata.config import Config, build
from voxstrata.errors import ConfigError, UsageError

NAME = "mixtures"
EXAMPLE = "mixtures:synthetic:demo, mixtures,count=120,overlap=0.3:FOLDER"


class MixturesConfig(Config):
    """Mixtures of one corpus: equal configurations of equal corpora give equal mixtures.

    Attributes:
        count: mixtures, of all parts together.
        seed: of everything.
        turns: utterances in a mixture (fewer where its speakers have said too little).
        overlap: time in which both speak, as a share of the time in which somebody does; near to
            which mixtures come, as utterances differ in length.
        level: dB by which one speaker is at most louder than the other.
        longest: seconds of an utterance; longer ones are cut between words, or in pauses.
    """

    count: Annotated[int, Field(ge=5, le=100_000)] = 80
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    turns: Annotated[int, Field(ge=2, le=50)] = 4
    overlap: Annotated[float, Field(ge=0.0, le=0.3)] = 0.2
    level: Annotated[float, Field(ge=0.0, le=20.0)] = 5.0
    longest: Annotated[float, Field(ge=1.0, le=30.0)] = 5.0


def parse(text: str) -> tuple[MixturesConfig, str]:
    """Settings and corpus of ``mixtures[,key=value...]:CORPUS``.

    Raises:
        UsageError: it names no corpus, or mixtures again.
        ConfigError: the text is malformed, or a key or value is wrong.
    """
    head, _, corpus = text.partition(":")
    name, *pairs = (part.strip() for part in head.split(","))
    if name != NAME:
        raise ConfigError(f"{text!r} does not name mixtures", expected=f"such as {EXAMPLE}")
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not value:
            raise ConfigError(
                f"{text!r}: an option has no value",
                got=repr(pair),
                expected="key=value, with the keys " + ", ".join(MixturesConfig.model_fields),
            )
        if key in values:
            raise ConfigError(f"{text!r}: an option is given twice", got=key, expected="it once")
        values[key] = value
    config = build(MixturesConfig, dict(values), source=text)
    if not corpus.strip():
        raise UsageError(
            "mixtures of which corpus?",
            got=text,
            expected=f"a corpus of single speakers after a colon, such as {EXAMPLE}",
            fix=f"{head}:synthetic:demo",
        )
    inner = corpus.strip()
    if inner.startswith((f"{NAME}:", f"{NAME},")):
        raise UsageError(
            "mixtures are not made of mixtures",
            got=inner,
            expected=f"a corpus of single speakers after the colon, such as {EXAMPLE}",
        )
    return config, inner
