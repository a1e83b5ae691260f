"""Everything the training of an i-vector extractor needs, made and checked before work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import voxstrata
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.corpora.load import JOIN
from voxstrata.errors import ConfigError, UsageError
from voxstrata.files import fingerprint
from voxstrata.frontend import FrontEnd, front_end
from voxstrata.models.ivector.features import SpeakerFeatures
from voxstrata.models.ivector.options import IvectorOptions
from voxstrata.models.placement import torch_device
from voxstrata.numerics.mixture_fit import enough
from voxstrata.streaming.setup import choose_device
from voxstrata.training.evaluate import check_evaluation
from voxstrata.training.ivector.settings import IvectorConfig

FEW_RECORDINGS = 5
"""Recordings a dimension of the i-vector below which the reader is warned."""

FEW_FRAMES = 50
"""Frames a row of a full covariance below which the reader is warned."""


@dataclass(frozen=True)
class Prepared:
    """A run, checked and planned.

    Attributes:
        config: the settings.
        options: of the extractor.
        front, features: what frames are.
        corpus: what is trained on.
        valid: corpora of the error rates, by name.
        device: where products are computed.
        identity: digest of all that the weights depend on.
        notices: what the reader must know.
    """

    config: IvectorConfig
    options: IvectorOptions
    front: FrontEnd
    features: SpeakerFeatures
    corpus: Corpus
    valid: dict[str, Corpus]
    device: str
    identity: str
    notices: tuple[str, ...]

    @property
    def recordings(self) -> int:
        """Recordings the total variability matrix is trained on, at most."""
        return min(len(self.corpus), self.config.data.longest or len(self.corpus))


def prepare(config: IvectorConfig) -> Prepared:
    """Open corpora and check that they can carry so large a model.

    Raises:
        UsageError: there is less speech than Gaussians need.
        VoxstrataError: settings, corpora or device are wrong.
    """
    model = config.model
    front = front_end(model.front_end, **model.front_end_options)
    options = IvectorOptions(
        width=front.width,
        **{name: getattr(model, name) for name in IvectorOptions.model_fields if name != "width"},
    )
    features = SpeakerFeatures(front, options.window, options.variance, options.vad)
    if options.select is not None and options.select > options.gaussians:
        raise ConfigError(
            "more Gaussians are looked at than there are",
            got=f"model.select={options.select}, model.gaussians={options.gaussians}",
        )
    device = choose_device(config.run.device)
    torch_device(device)
    data = config.data
    corpus = load_corpus(
        JOIN.join(data.corpora), min_s=data.min_s, max_s=data.max_s, check=data.check
    )
    enough(int(100 * corpus.seconds), options.gaussians)
    valid = {name: load_corpus(text, check=data.check) for name, text in data.valid.items()}
    for name, one in valid.items():
        check_evaluation(name, one)
    identity = fingerprint(
        {
            "version": voxstrata.__version__,
            "settings": numbers(config),
            "corpus": corpus.fingerprint,
            "valid": {name: one.fingerprint for name, one in valid.items()},
        }
    )
    recordings = min(len(corpus), data.longest or len(corpus))
    return Prepared(
        config, options, front, features, corpus, valid, device, identity,
        tuple(_notices(options, recordings, corpus.seconds)),
    )  # fmt: skip


def numbers(config: IvectorConfig) -> dict[str, Any]:
    """The settings that numbers depend on."""
    values = config.model_dump(mode="json")
    values.pop("name")
    for name in ("device", "keep_features"):
        values["run"].pop(name)
    values["data"].pop("check")
    values["variability"].pop("watch")
    return values


def refuse_few(recordings: int, rank: int) -> None:
    """Check that there are more recordings than dimensions of an i-vector.

    Raises:
        UsageError: there are not; the subspace would hold every recording by itself.
    """
    if recordings <= rank:
        raise UsageError(
            "there are no more recordings than dimensions of the i-vector",
            got=f"{recordings} usable recordings, rank {rank}",
            expected=f"more than {FEW_RECORDINGS} recordings a dimension, as a rule",
            fix=f"ask for a rank of at most {max(1, recordings // FEW_RECORDINGS)}, or give more "
            "recordings",
        )


def _notices(options: IvectorOptions, recordings: int, seconds: float) -> list[str]:
    found = []
    if recordings < FEW_RECORDINGS * options.rank:
        found.append(
            f"A rank of {options.rank} is large for {recordings} recordings: fewer than "
            f"{FEW_RECORDINGS} a dimension. i-vectors will hold what these recordings happen to "
            f"be; a rank of {max(1, recordings // FEW_RECORDINGS)} is safer."
        )
    rows = options.gaussians * options.width
    if options.covariance == "full" and 100 * seconds < FEW_FRAMES * rows:
        found.append(
            f"Full covariances of {options.gaussians} Gaussians are many for {seconds / 3600:.1f} "
            f"h: fewer than {FEW_FRAMES} frames a row. Diagonal ones are safer."
        )
    return found
