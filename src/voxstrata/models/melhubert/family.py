"""The MelHuBERT family: registered names, checkpoint files, random twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from voxstrata.config import Config, build
from voxstrata.errors import ConfigError, ModelError
from voxstrata.models.card import CARD, bundled, card_folder, open_card, twin_seed
from voxstrata.models.family import SEEDS, ModelSpec
from voxstrata.models.melhubert.options import MelHubertOptions

if TYPE_CHECKING:
    from pathlib import Path

    from voxstrata.frontend import FrontEnd
    from voxstrata.models.melhubert.model import MelHubertModel
    from voxstrata.models.melhubert.network import MelHubert

_INPUTS = {"melhubert": None, "melhubert-20ms": 80, "melhubert-10ms": 40}


class ReadOptions(Config):
    """Options of every MelHuBERT, whatever its weights come from.

    Attributes:
        stats: a ``.npy`` file [2, 40] with the mean and deviation of the log-mel features the
            model was trained on; LibriSpeech-960's by default.
        final_norm: give layer N of a pre-norm model after its last LayerNorm.
        seed: of the initial weights (random twins only).
    """

    stats: str | None = None
    final_norm: bool = False
    seed: int = Field(default=0, ge=0, lt=SEEDS)


class FileOptions(Config):
    """What bare tensors cannot tell.

    Attributes:
        heads: attention heads before any pruning.
        norm_first: pre-norm.
        causal: attention sees no later frame.
    """

    heads: int | None = None
    norm_first: bool | None = None
    causal: bool | None = None


class MelHubertFamily:
    """HuBERT on log-mel features."""

    name = "melhubert"

    def names(self) -> Mapping[str, str]:
        """Registered names."""
        return {
            "melhubert": "MelHuBERT, 12 blocks of 768, 20 ms (layers=, width=, inputs=40, ...)",
            "melhubert-20ms": "MelHuBERT, a frame every 20 ms",
            "melhubert-10ms": "MelHuBERT, a frame every 10 ms",
            **bundled(self.name),
        }

    def recognises(self, spec: ModelSpec) -> bool:
        """A registered name, a model folder of ours, or a weights file with MelHuBERT's tensor
        names."""
        if spec.base in _INPUTS or card_folder(spec.base, self.name) is not None:
            return True
        from voxstrata.models.weights import names_in_file

        names = names_in_file(spec.base)
        if not names:
            return False
        from voxstrata.models.melhubert.checkpoint import is_melhubert

        return is_melhubert(names)

    def load(self, spec: ModelSpec) -> MelHubertModel:
        """The model named by ``spec``.

        Raises:
            ModelError: a registered name without ``random:`` (there are no bundled weights).
            CheckpointError: the file does not fit.
            ConfigError: an option is unknown, wrong or missing.
        """
        from voxstrata.models.placement import refuse_revision

        refuse_revision(spec.revision, spec.base)
        if spec.base in _INPUTS and not spec.random:
            raise ModelError(
                f"there are no weights for the name {spec.base!r}",
                got=spec.text,
                expected="a checkpoint file, or the untrained twin",
                fix=f"give the path of a checkpoint, or use 'random:{spec.base}'",
            )
        folder = None if spec.base in _INPUTS else card_folder(spec.base, self.name)
        if folder is not None:
            return _from_card(spec, folder)
        given: dict[str, Any] = dict(spec.options)
        if "seed" in given and not spec.random:
            raise ConfigError(
                f"{spec.text!r}: a seed is for random twins", fix="drop it, or use random:"
            )
        own = {k: given.pop(k) for k in list(given) if k in ReadOptions.model_fields}
        chosen = build(ReadOptions, own, source=f"options of {spec.text!r}")
        network: MelHubert | None = None
        facts: dict[str, Any] = {}
        if spec.base in _INPUTS:
            options = _registered(spec, given)
        else:
            network, facts = _from_file(spec, given)
            options = network.options
        if network is None or spec.random:
            network = _seeded(options, chosen.seed)
            facts = {**facts, "random": True, "seed": chosen.seed}
        from voxstrata.models.melhubert.model import MelHubertModel

        front = _front_end(options.inputs, chosen.stats, spec.base)
        return MelHubertModel(spec.text, network, front, facts, spec.cut, chosen.final_norm)


def _from_card(spec: ModelSpec, folder: Path) -> MelHubertModel:
    """A model folder's network, or its untrained twin."""
    from voxstrata.models.melhubert.model import MelHubertModel
    from voxstrata.models.melhubert.network import MelHubert
    from voxstrata.models.weights import load_strictly

    seed = twin_seed(spec, own=("final_norm",))
    given = {k: v for k, v in spec.options.items() if k == "final_norm"}
    chosen = build(ReadOptions, given, source=f"options of {spec.text!r}")
    opened = open_card(folder)
    options = build(MelHubertOptions, dict(opened.options), source=str(folder / CARD))
    if spec.random:
        network = _seeded(options, seed)
        facts = {"random": True, "seed": seed, "shape_of": opened.card.get("name")}
    else:
        network, facts = MelHubert(options), opened.facts
        load_strictly(network, opened.weights(), str(folder))
    return MelHubertModel(
        spec.text, network.eval(), opened.front, facts, spec.cut, chosen.final_norm
    )


def _registered(spec: ModelSpec, given: dict[str, Any]) -> MelHubertOptions:
    inputs = _INPUTS[spec.base]
    if inputs is not None:
        if "inputs" in given:
            raise ConfigError(
                f"{spec.base!r} reads {inputs} features a frame by name",
                got=f"inputs={given['inputs']}",
                fix="use 'random:melhubert,inputs=...'",
            )
        given = {**given, "inputs": inputs}
    return build(MelHubertOptions, given, source=f"options of {spec.text!r}")


def _from_file(spec: ModelSpec, given: dict[str, Any]) -> tuple[MelHubert, dict[str, Any]]:
    from pathlib import Path

    from voxstrata.files import sha256_file
    from voxstrata.models.melhubert.checkpoint import read_melhubert

    chosen = build(FileOptions, given, source=f"options of {spec.text!r}")
    path = Path(spec.base).expanduser()
    network = read_melhubert(path, chosen.model_dump(exclude_none=True))
    return network, {"file": path.name, "sha256": sha256_file(path)}


def _seeded(options: MelHubertOptions, seed: int) -> MelHubert:
    """A network with initial weights from ``seed`` alone."""
    import torch

    from voxstrata.models.melhubert.network import MelHubert

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MelHubert(options)


def _front_end(inputs: int, stats: str | None, base: str) -> FrontEnd:
    """The front end for a network's input width.

    Raises:
        ConfigError: no front end gives that width, or the statistics file is unusable.
    """
    from voxstrata.frontend import front_end

    names = {40: "melhubert-10ms", 80: "melhubert-20ms"}
    if inputs not in names:
        raise ConfigError(
            f"model {base!r} reads {inputs} features a frame",
            got=inputs,
            expected="40 (10 ms) or 80 (20 ms)",
        )
    if stats is None:
        return front_end(names[inputs])
    import numpy as np

    try:
        table = np.load(stats, allow_pickle=False)
    except Exception as error:  # its header is parsed as Python text: any kind of error may come
        raise ConfigError(
            f"cannot read the statistics {stats}", got=str(error), expected="a .npy file [2, 40]"
        ) from None
    shape = getattr(table, "shape", None)
    if shape is None or len(shape) < 2 or shape[0] != 2 or table.size != 80:
        raise ConfigError(
            f"{stats} does not hold feature statistics",
            got=f"shape {shape}",
            expected="shape (2, 40): means, then deviations, of 40 log-mel filters",
        )
    mean, std = np.asarray(table, dtype=np.float64).reshape(2, 40).tolist()
    return front_end(names[inputs], mean=tuple(mean), std=tuple(std))


FAMILY = MelHubertFamily()
