"""The ECAPA-TDNN family: registered names, checkpoint files, random twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from voxstrata.config import Config, build
from voxstrata.errors import ConfigError, ModelError
from voxstrata.models.card import CARD, bundled, card_folder, open_card, twin_seed
from voxstrata.models.ecapa.options import FrontEndName, Preset, preset_options
from voxstrata.models.family import SEEDS, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

    from voxstrata.models.ecapa.checkpoint import EcapaCheckpoint
    from voxstrata.models.ecapa.model import EcapaModel
    from voxstrata.models.ecapa.network import Ecapa
    from voxstrata.models.ecapa.options import EcapaOptions

_CHANNELS = {"ecapa": None, "ecapa-512": 512, "ecapa-1024": 1024}


class FileOptions(Config):
    """Options of a checkpoint file.

    Attributes:
        frontend: whose features feed the network; needed where tensors cannot tell.
        preset: whose network it is; checked against the file, and names the front end too.
        branch: teacher or student of a self-distillation checkpoint.
    """

    frontend: FrontEndName | None = None
    preset: Preset | None = None
    branch: Literal["teacher", "student"] | None = None


class TwinOptions(Config):
    """Options of a random twin, besides those of the network.

    Attributes:
        preset: which published variant to build.
        frontend: its front end, the preset's own by default.
        seed: of the initial weights.
    """

    preset: Preset = "wespeaker"
    frontend: FrontEndName | None = None
    seed: int = Field(default=0, ge=0, lt=SEEDS)


class EcapaFamily:
    """Supervised and self-supervised ECAPA-TDNN speaker encoders."""

    name = "ecapa"

    def names(self) -> Mapping[str, str]:
        """Registered names."""
        return {
            "ecapa": "ECAPA-TDNN, C = 512 (preset=, channels=, mfa=, embed=, ...)",
            "ecapa-512": "ECAPA-TDNN, C = 512",
            "ecapa-1024": "ECAPA-TDNN, C = 1024",
            **bundled(self.name),
        }

    def recognises(self, spec: ModelSpec) -> bool:
        """A registered name, a model folder of ours, or a weights file with the tensor names of
        one of the layouts."""
        if spec.base in _CHANNELS or card_folder(spec.base, self.name) is not None:
            return True
        from voxstrata.models.ecapa.names import detect_layout
        from voxstrata.models.weights import names_in_file

        return detect_layout(names_in_file(spec.base)) is not None

    def load(self, spec: ModelSpec) -> EcapaModel:
        """The model named by ``spec``.

        Raises:
            ModelError: a registered name without ``random:`` (there are no bundled weights), or
                ``random:`` of a file that is not there.
            CheckpointError: the file does not fit.
            ConfigError: an option is unknown, wrong or missing.
        """
        from voxstrata.models.placement import refuse_revision

        refuse_revision(spec.revision, spec.base)
        if spec.base in _CHANNELS and not spec.random:
            raise ModelError(
                f"there are no weights for the name {spec.base!r}",
                got=spec.text,
                expected="a checkpoint file, or the untrained twin",
                fix=f"give the path of a checkpoint, or use 'random:{spec.base}'",
            )
        if spec.base in _CHANNELS:
            return self._twin(spec)
        folder = card_folder(spec.base, self.name)
        return self._file(spec) if folder is None else _from_card(spec, folder)

    def _twin(self, spec: ModelSpec) -> EcapaModel:
        given: dict[str, Any] = dict(spec.options)
        own = {k: given.pop(k) for k in list(given) if k in TwinOptions.model_fields}
        twin = build(TwinOptions, own, source=f"options of {spec.text!r}")
        channels = _CHANNELS[spec.base]
        if channels is not None:
            if "channels" in given:
                raise ConfigError(
                    f"{spec.base!r} has {channels} channels by name",
                    got=f"channels={given['channels']}",
                    fix="use 'random:ecapa,channels=...'",
                )
            given["channels"] = channels
        options = preset_options(twin.preset, given)
        front = twin.frontend or twin.preset
        return _seeded(spec, options, front, twin.seed, {"preset": twin.preset})

    def _file(self, spec: ModelSpec) -> EcapaModel:
        from pathlib import Path

        from voxstrata.files import sha256_file
        from voxstrata.models.ecapa.checkpoint import read_ecapa

        given: dict[str, Any] = dict(spec.options)
        seed = int(build(TwinOptions, {"seed": given.pop("seed", 0)}).seed) if spec.random else 0
        chosen = build(FileOptions, given, source=f"options of {spec.text!r}")
        path = Path(spec.base).expanduser()
        checkpoint = read_ecapa(path, chosen.branch)
        front = _front_end_of(checkpoint, chosen, spec.base)
        facts = {
            "layout": checkpoint.layout,
            "preset": chosen.preset or checkpoint.preset,
            "wrapper": checkpoint.wrapper,
            "branch": checkpoint.branch,
        }
        if spec.random:
            return _seeded(spec, checkpoint.options, front, seed, {**facts, "shape_of": path.name})
        facts = {**facts, "file": path.name, "sha256": sha256_file(path)}
        return _wrap(spec, checkpoint.build(), front, facts)


def _from_card(spec: ModelSpec, folder: Path) -> EcapaModel:
    """A model folder's network, or its untrained twin."""
    from voxstrata.models.ecapa.model import EcapaModel
    from voxstrata.models.ecapa.network import Ecapa
    from voxstrata.models.ecapa.options import EcapaOptions
    from voxstrata.models.weights import load_strictly

    seed = twin_seed(spec)
    opened = open_card(folder)
    options = build(EcapaOptions, dict(opened.options), source=str(folder / CARD))
    if spec.random:
        facts = {"random": True, "seed": seed, "shape_of": opened.card.get("name")}
        return EcapaModel(spec.text, _initial(options, seed), opened.front, facts, spec.cut)
    network = Ecapa(options)
    load_strictly(network, opened.weights(), str(folder))
    model = EcapaModel(spec.text, network.eval(), opened.front, opened.facts, spec.cut)
    model.training_mean = opened.mean()
    return model


def _front_end_of(checkpoint: EcapaCheckpoint, chosen: FileOptions, base: str) -> str:
    """Which front end a checkpoint needs.

    Raises:
        ConfigError: the tensors do not tell and no option does; or the preset contradicts them.
    """
    fits = (checkpoint.preset,) if checkpoint.preset else ("speechbrain", "3dspeaker")
    if chosen.preset is not None and chosen.preset not in fits:
        raise ConfigError(
            f"{base} is not a checkpoint of preset {chosen.preset!r}",
            got=f"tensor names of {' or '.join(fits)}",
            fix=f"drop preset={chosen.preset}, or give the right file",
        )
    front = chosen.frontend or chosen.preset or checkpoint.preset
    if front is None:
        raise ConfigError(
            f"{base}: tensors do not tell which features the network was trained on",
            got="names that SpeechBrain and 3D-Speaker share",
            expected="frontend=speechbrain (centred STFT, dB) or frontend=3dspeaker (Kaldi fbank)",
            fix=f"write '{base},frontend=speechbrain' or '{base},frontend=3dspeaker'",
        )
    return front


def _seeded(
    spec: ModelSpec, options: EcapaOptions, front: str, seed: int, facts: dict[str, Any]
) -> EcapaModel:
    """A random twin with one of the named front ends."""
    return _wrap(spec, _initial(options, seed), front, {**facts, "random": True, "seed": seed})


def _initial(options: EcapaOptions, seed: int) -> Ecapa:
    """A network with torch's default initial weights, from ``seed`` alone."""
    import torch

    from voxstrata.models.ecapa.network import Ecapa

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Ecapa(options)


def _wrap(spec: ModelSpec, network: Any, front: str, facts: dict[str, Any]) -> EcapaModel:
    from voxstrata.frontend import front_end
    from voxstrata.models.ecapa.model import EcapaModel

    # Networks for another number of mel filters get the same front end with that many.
    features = front_end(front, mels=network.options.inputs)
    return EcapaModel(spec.text, network, features, facts, spec.cut)


FAMILY = EcapaFamily()
