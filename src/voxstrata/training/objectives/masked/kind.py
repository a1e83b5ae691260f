"""Masked prediction of cluster codes (MelHuBERT, arXiv 2211.09944), and its denoising variant.

The variant (WavLM, arXiv 2110.13900) differs in one setting: ``mixing``.
"""

from __future__ import annotations

from typing import cast

from voxstrata.augmentation.sources import Bank
from voxstrata.config import build
from voxstrata.corpora import load_corpus
from voxstrata.errors import ConfigError, CorpusError
from voxstrata.frontend import FrontEnd
from voxstrata.frontend.config import KaldiConfig
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.models.melhubert.options import MelHubertOptions
from voxstrata.streaming.setup import choose_device
from voxstrata.training.data.items import Items
from voxstrata.training.encoders import build_front_end
from voxstrata.training.objective import Context, Evaluator
from voxstrata.training.objectives.masked.evaluate import HeldOut
from voxstrata.training.objectives.masked.examples import MaskedExamples
from voxstrata.training.objectives.masked.mixing import Mixer
from voxstrata.training.objectives.masked.objective import Masked
from voxstrata.training.objectives.masked.settings import MaskedOptions
from voxstrata.training.objectives.masked.sources import open_source
from voxstrata.training.objectives.masked.targets import (
    Targets,
    prepare_targets,
    targets_folder,
)
from voxstrata.training.settings import TrainConfig

_LARGEST = 2**16
"""Codes are kept in 16 bits."""


class Kind:
    """See :class:`voxstrata.training.objective.ObjectiveKind`."""

    summary = "masked prediction of cluster codes (MelHuBERT), denoising"
    families = ("melhubert",)
    Options: type[MaskedOptions] = MaskedOptions

    def check(self, options: MaskedOptions, config: TrainConfig, items: Items) -> None:
        """Refuse what cannot work, before anything is computed.

        Raises:
            ConfigError: front end, number of clusters, masks on features, a folder without
                targets.
            CorpusError: every recording is shorter than a hidden span, or there is no second
                recording to mix with.
        """
        front = build_front_end(config.model)
        _refuse_front(front)
        if _clusters(config) > _LARGEST:
            raise ConfigError(
                "too many clusters", got=_clusters(config), expected=f"at most {_LARGEST}"
            )
        if config.spec_augment is not None:
            raise ConfigError(
                "masked prediction hides frames itself",
                got="spec_augment",
                fix="drop spec_augment; objective.mask has the settings",
            )
        if options.targets.folder is not None:
            targets_folder(options.targets.folder)
        longest = max(item.duration_s for item in items)
        frames = front.frames(round(longest * 16_000))
        if frames < options.mask.length:
            raise CorpusError(
                f"all recordings of {items.corpus.spec} are too short",
                got=f"{frames} frames in the longest",
                expected=f"at least {options.mask.length}, the length of a hidden span",
            )
        if options.mixing is not None and len({item.utterance.id for item in items}) < 2:
            raise CorpusError(
                "mixing needs other recordings", got=f"1 recording in {items.corpus.spec}"
            )

    def examples(self, options: MaskedOptions, context: Context) -> MaskedExamples:
        """Crops with codes; statistics and codes are computed first, or taken from disk."""
        from voxstrata.training.prepare import augmenter, sources

        targets = _targets(options, context)
        mixer = None
        if options.mixing is not None:
            from voxstrata.augmentation.config import AugmentConfig

            found = sources(AugmentConfig(musan=options.mixing.musan), context.items)
            bank = Bank(found, options.mixing.seed, None)
            mixer = Mixer(options.mixing, context.items, bank)
        return MaskedExamples(
            targets,
            options.mask,
            options.max_frames,
            mixer,
            augmenter(context.config, context.items),
        )

    def build(self, options: MaskedOptions, context: Context) -> Masked:
        """The network with initial weights from the run's seed."""
        network = cast(MelHubert, context.encoder())
        network.set_dropout(options.dropout)
        return Masked(network, options)

    def evaluators(self, options: MaskedOptions, context: Context) -> tuple[Evaluator, ...]:
        """One for each corpus of ``data.valid``."""
        data = context.config.data
        if not data.valid:
            return ()
        targets = _targets(options, context)
        source = open_source(targets.config, targets.front)
        device = choose_device(context.config.run.device)
        return tuple(
            HeldOut(
                name,
                load_corpus(text, check=data.check),
                targets.front,
                source,
                targets.centres,
                options.mask,
                options.valid_s,
                device,
            )
            for name, text in data.valid.items()
        )


def _targets(options: MaskedOptions, context: Context) -> Targets:
    return prepare_targets(options, context, _clusters(context.config))


def _clusters(config: TrainConfig) -> int:
    given = dict(config.model.options)
    return build(MelHubertOptions, given, source="model.options").clusters


def _refuse_front(front: FrontEnd) -> None:
    config = front.config
    if (
        isinstance(config, KaldiConfig)
        and config.kind == "fbank"
        and config.normalise in ("global", "none")
    ):
        return
    raise ConfigError(
        f"masked prediction cannot be trained on the front end {front.name!r}",
        got=f"{type(config).__name__}, normalise {config.normalise!r}",
        expected="Kaldi filter banks with global normalisation or none, so that the frames of a "
        "crop are those of the recording",
        fix="use melhubert-10ms or melhubert-20ms",
    )


KIND = Kind()
