"""Published ECAPA-TDNN checkpoints, read strictly into our tensor names and options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from voxstrata.errors import CheckpointError, ConfigError
from voxstrata.frontend.config import StftConfig
from voxstrata.frontend.presets import FRONT_ENDS
from voxstrata.models.ecapa.names import Layout, detect_layout, pairs
from voxstrata.models.ecapa.network import Ecapa
from voxstrata.models.ecapa.options import VARIANTS, EcapaOptions
from voxstrata.models.weights import load_strictly, only_tensors, read_container, shorten

Branch = Literal["teacher", "student"]

# (prefix of the wanted network, prefixes and names that stand beside it and are not the encoder)
_WRAPPERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("t_model.", ("s_model.", "dino_loss_calculator.")),
    ("s_model.", ("t_model.", "dino_loss_calculator.")),
    ("encoder_q.", ("encoder_k.", "queue", "queue_ptr", "mlp.", "projection.", "frontend.")),
    ("encoder.", ("encoder_k.", "queue", "queue_ptr", "mlp.", "projection.", "frontend.")),
    ("backbone.", ("head.",)),
    ("speaker_encoder.", ("speaker_loss.weight",)),
)
# Parts that lie beside the encoder under the same prefix: classifiers and projection heads.
_BESIDE: dict[str, tuple[str, ...]] = {
    "wespeaker": ("projection.weight", "projection.bias", "frontend.", "projection_head.", "mlp."),
    "speechbrain": (),
    "taoruijie": ("torchfbank.",),
}


@dataclass(frozen=True)
class EcapaCheckpoint:
    """A checkpoint, understood.

    Attributes:
        options: shape and variants of the network.
        layout: whose tensor names the file uses.
        preset: whose network it is; ``None`` where names cannot tell SpeechBrain from 3D-Speaker.
        wrapper: prefix under which the encoder lay, "" for none.
        branch: which of two networks was taken, ``None`` where there was one.
        state: tensors under our names, float32, batch counters left out.
    """

    options: EcapaOptions
    layout: Layout
    preset: str | None
    wrapper: str
    branch: Branch | None
    state: dict[str, torch.Tensor]

    def build(self) -> Ecapa:
        """The network with these weights, in eval mode."""
        network = Ecapa(self.options)
        counters = {
            name: value
            for name, value in network.state_dict().items()
            if name.endswith("num_batches_tracked")
        }
        load_strictly(network, {**counters, **self.state}, f"{self.layout} checkpoint")
        return network.eval()


def read_ecapa(path: str | Path, branch: Branch | None = None) -> EcapaCheckpoint:
    """Read a checkpoint file in any of the published layouts.

    Args:
        path: torch or safetensors file.
        branch: which network of a self-distillation checkpoint; the teacher by default.

    Raises:
        CheckpointError: the file is no such checkpoint; tensors are missing, unexpected or of
            a wrong shape (all are named).
        ConfigError: ``branch`` was given but the file holds one network only.
    """
    where = str(path)
    return understand(read_container(path), where, branch)


def understand(
    container: Mapping[str, Any], where: str, branch: Branch | None = None
) -> EcapaCheckpoint:
    """As :func:`read_ecapa`, from a container that is in memory already."""
    flat, opened = _unwrap(container, where, branch)
    inner, wrapper, split = _encoder(_strip(flat), where, branch or "teacher")
    if branch is not None and not (opened or split):
        raise ConfigError(
            f"{where} holds one network, so there is no {branch} to choose",
            got=f"branch={branch}",
            fix="drop the option",
        )
    names = {k: v for k, v in inner.items() if not k.endswith("num_batches_tracked")}
    layout = detect_layout(set(names))
    if layout is None:
        raise CheckpointError(
            f"{where} is not an ECAPA-TDNN checkpoint that we know",
            got=f"tensors {shorten(sorted(inner), 6)}",
            expected="names of wespeaker, SpeechBrain, 3D-Speaker or TaoRuijie/ECAPA-TDNN",
        )
    if layout == "taoruijie":
        _check_filters(names, where)
    kept = {k: v for k, v in names.items() if not _matches(k, _BESIDE[layout])}
    preset: str | None = layout
    if layout == "speechbrain":
        preset = "rdino" if wrapper == "backbone." else None
    options = _infer(kept, layout, where)
    table = dict(pairs(layout, options))
    missing = [theirs for theirs in table.values() if theirs not in kept]
    unexpected = sorted(set(kept) - set(table.values()))
    if missing or unexpected:
        raise CheckpointError(
            f"{where} does not fit the {layout} layout",
            got="; ".join(
                f"{kind}: {shorten(wrapper + n for n in which)}"
                for kind, which in (("missing", missing), ("unexpected", unexpected))
                if which
            ),
            expected=f"the {len(table)} tensors of ECAPA-TDNN as {layout} names them",
            fix="the file may be cut, of another version, or hold another network",
        )
    state = {ours: _shaped(ours, kept[theirs]) for ours, theirs in table.items()}
    _check_shapes(state, table, options, where)
    chosen = (branch or "teacher") if opened or split else None
    return EcapaCheckpoint(options, layout, preset, wrapper, chosen, state)


def _unwrap(
    container: Mapping[str, Any], where: str, branch: Branch | None
) -> tuple[dict[str, torch.Tensor], bool]:
    """Descend to the tensors; says also whether a teacher and a student were told apart."""
    opened = False
    for _ in range(4):
        if branch is not None and branch not in container:
            other = "student" if branch == "teacher" else "teacher"
            if isinstance(container.get(other), Mapping):
                raise CheckpointError(
                    f"{where} has no {branch}", got=f"a {other} only", fix="drop the option"
                )
        keys = ("state_dict", "model", branch or "teacher", "embedding_model")
        key = next((k for k in keys if isinstance(container.get(k), Mapping)), None)
        if key is None:
            break
        opened = opened or key in ("teacher", "student")
        container = container[key]
    return only_tensors(container, where), opened


def _strip(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def _matches(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == p or (p.endswith(".") and name.startswith(p)) for p in parts)


def _encoder(
    tensors: dict[str, torch.Tensor], where: str, branch: Branch
) -> tuple[dict[str, torch.Tensor], str, bool]:
    """The encoder's tensors without their prefix, the prefix, and whether there are two."""
    wanted = "t_model." if branch == "teacher" else "s_model."
    two = any(n.startswith(("t_model.", "s_model.")) for n in tensors)
    for prefix, beside in _WRAPPERS:
        if two and prefix != wanted:
            continue
        if not any(name.startswith(prefix) for name in tensors):
            continue
        inside = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        strange = [n for n in tensors if not n.startswith(prefix) and not _matches(n, beside)]
        if strange:
            raise CheckpointError(
                f"{where} holds tensors that belong to nothing we know",
                got=f"unexpected: {shorten(strange)}",
                expected=f"names that begin with {prefix!r}, and {', '.join(beside)}",
            )
        return _strip(inside), prefix, two
    if two:
        raise CheckpointError(
            f"{where} has no {branch}", got="the other network only", expected=f"{wanted}*"
        )
    return tensors, "", False


def _infer(tensors: Mapping[str, torch.Tensor], layout: Layout, where: str) -> EcapaOptions:
    """Sizes from shapes; variants from the layout."""
    probe = EcapaOptions(**VARIANTS[layout])
    table = dict(pairs(layout, probe.model_copy(update={"embedding_norm": False})))

    def shape(ours: str) -> tuple[int, ...]:
        name = table[ours]
        if name not in tensors:
            raise CheckpointError(
                f"{where} does not fit the {layout} layout",
                got=f"missing: {name}",
                expected="every tensor of ECAPA-TDNN",
            )
        found = tuple(tensors[name].shape)
        if len(found) < 2:
            raise CheckpointError(f"{where}: {name} has a wrong shape", got=str(found))
        return found

    channels, inputs = shape("stem.conv.weight")[:2]
    mfa = shape("mfa.weight")[0]
    attention, seen = shape("attention.inner.weight")[:2]
    chunk = shape("blocks.0.res2.0.conv.weight")[0]
    if seen not in (mfa, 3 * mfa):
        raise CheckpointError(
            f"{where}: {table['attention.inner.weight']} has a wrong width",
            got=seen,
            expected=f"{mfa} (no context) or {3 * mfa} (with context)",
        )
    embedding_norm = probe.embedding_norm or (
        layout == "wespeaker" and any(name.startswith("bn2.") for name in tensors)
    )
    if channels % chunk or channels // chunk < 2:
        raise CheckpointError(
            f"{where}: {table['blocks.0.res2.0.conv.weight']} has a wrong shape",
            got=f"{chunk} channels",
            expected=f"a fraction of {channels}",
        )
    return EcapaOptions(
        **{
            **VARIANTS[layout],
            "inputs": inputs,
            "channels": channels,
            "mfa": mfa,
            "embed": shape("embedding.weight")[0],
            "attention": attention,
            "se": shape("blocks.0.se.down.weight")[0],
            "scale": channels // chunk,
            "global_context": seen == 3 * mfa,
            "embedding_norm": embedding_norm,
        }
    )


def _shaped(ours: str, tensor: torch.Tensor) -> torch.Tensor:
    """Linear maps and 1x1 convolutions are the same numbers in other shapes."""
    tensor = tensor.detach().to(torch.float32)
    if ours.endswith(("se.down.weight", "se.up.weight")) and tensor.ndim == 2:
        return tensor.unsqueeze(-1)
    if ours == "embedding.weight" and tensor.ndim == 3 and tensor.shape[-1] == 1:
        return tensor.squeeze(-1)
    return tensor


def _check_shapes(
    state: Mapping[str, torch.Tensor], table: Mapping[str, str], options: EcapaOptions, where: str
) -> None:
    """Shapes against those of the network, named as the file names them."""
    with torch.device("meta"):
        own = Ecapa(options).state_dict()
    wrong = [
        f"{table[name]} {tuple(value.shape)} instead of {tuple(own[name].shape)}"
        for name, value in state.items()
        if value.shape != own[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{where} does not fit itself: shapes disagree",
            got=f"wrong shape: {shorten(wrong)}",
            expected=f"C={options.channels}, M={options.mfa}, D={options.embed}, as read from it",
        )


def _check_filters(tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """TaoRuijie's files carry their front end; ours must be the same, or numbers would differ."""
    from voxstrata.frontend.stft import mel_filters

    config = FRONT_ENDS.get("taoruijie")
    if not isinstance(config, StftConfig):
        raise CheckpointError("the front end 'taoruijie' was replaced by one of another kind")
    window = torch.hamming_window(400, periodic=True)
    expected = {
        "torchfbank.0.flipped_filter": torch.tensor([[[-config.preemphasis, 1.0]]]),
        "torchfbank.1.spectrogram.window": window,
        "torchfbank.1.mel_scale.fb": mel_filters(config).float(),
    }
    strange = [n for n in tensors if n.startswith("torchfbank.") and n not in expected]
    for name, value in expected.items():
        found = tensors.get(name)
        if found is not None and (
            found.shape != value.shape or not torch.allclose(found.float(), value, atol=1e-4)
        ):
            strange.append(name)
    if strange:
        raise CheckpointError(
            f"{where} was made with another front end than TaoRuijie/ECAPA-TDNN's",
            got=f"different or unknown: {shorten(strange)}",
            expected="pre-emphasis 0.97, Hamming window of 400, 80 HTK mel filters 20-7600 Hz",
        )
