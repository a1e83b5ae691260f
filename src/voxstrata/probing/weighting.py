"""The layer weighting: one learned scalar a layer, softmax over layers, weighted sum.

``z = sum_l softmax(a)_l x_l`` with ``a`` zero at first, trained with the head (SUPERB, Yang et al.,
Interspeech 2021; ``upstream/interfaces.py`` of s3prl). Beyond it: layers of unequal width through
a learned map each, layers of unequal frame rate, utterance layers among frame layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from voxstrata.errors import ShapeError, UsageError
from voxstrata.probing.heads.head import mean_over_time
from voxstrata.probing.resampling import Resampler
from voxstrata.probing.seeded import initial_weights
from voxstrata.types import FrameGrid, LayerInfo

UtteranceLayers = Literal["repeat", "leave out"]
"""Utterance layers among frame layers: the same vector in every frame, or not in the sum."""

Lengths = torch.Tensor | Sequence[torch.Tensor]


class LayerWeights(nn.Module):
    """Weighted sum of layers.

    Args:
        layers: the layers, of one model or of several.
        normalise: every frame of every layer to mean 0 and variance 1 over its D numbers first
            (``layer_norm`` without learned scale, eps 1e-5).
        width: learn a linear map a layer to this width; needed where widths differ.
        stride: resample to frames this many samples apart; the coarsest layer's by default.
        utterance: what to do with utterance layers where there are frame layers too.
        seed: of the initial maps; the weighting itself starts even.

    Attributes:
        layers: those in the sum.
        logits: a, [L], zeros at first.
        width: D of the sum.
        grid: frame grid of the sum; ``None`` where all layers are utterance layers.

    Raises:
        UsageError: no layer, or widths differ, or frame and utterance layers meet, and the option
            that says what to do is not given; a stride finer than a layer's.
    """

    def __init__(
        self,
        layers: Sequence[LayerInfo],
        *,
        normalise: bool = False,
        width: int | None = None,
        stride: int | None = None,
        utterance: UtteranceLayers | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.given, self.normalise = len(layers), normalise
        self._kept = _kept(layers, utterance)
        self.layers = tuple(layers[i] for i in self._kept)
        self._timed = tuple(i for i, info in enumerate(self.layers) if info.kind == "frame")
        self._whole = tuple(i for i in range(len(self.layers)) if i not in self._timed)
        self.logits = nn.Parameter(torch.zeros(len(self.layers)))
        self.maps: nn.ModuleList | None = None
        if width is not None:
            with initial_weights(seed, "layer maps"):
                self.maps = nn.ModuleList(nn.Linear(info.width, width) for info in self.layers)
        else:
            _one_width(self.layers)
        self.width = self.layers[0].width if width is None else width
        grids = [info.grid for info in self.layers if info.kind == "frame" and info.grid]
        self._resampler: Resampler | None = None
        self.grid: FrameGrid | None = grids[0] if grids else None
        if grids and (len(set(grids)) > 1 or stride not in (None, grids[0].stride)):
            self._resampler = Resampler(grids, stride)
            self.grid = self._resampler.grid

    def forward(
        self, xs: torch.Tensor | Sequence[torch.Tensor], lengths: Lengths
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum.

        Args:
            xs: for each layer given at first (also those left out) its frames [B, T_l, D_l], or
                one vector [B, D_l] for utterance layers; or all at once, [L, B, T, D], where every
                layer has the same frames and width. Half precision is computed in float32.
            lengths: int64 [B], how many frames are a recording's own; or a tensor [B] a layer,
                which layers of different grids need (entries of utterance layers are ignored).

        Returns:
            z [B, T, D] and its lengths [B]; T is 1 where all layers are utterance layers. Frames
            beyond a recording's length are what the padding made them.

        Raises:
            ShapeError: tensors do not fit the layers.
            UsageError: layers of different grids with lengths of one.
        """
        parts, found = self._parts(xs, lengths)
        return self._sum(parts), found

    def time_means(
        self, xs: torch.Tensor | Sequence[torch.Tensor], lengths: Lengths
    ) -> list[torch.Tensor]:
        """Mean over a recording's frames of what the sum is of, for each layer [B, D_l].

        Normalisation and resampling come before the mean, maps and weights after it, where
        :meth:`reduce_means` applies them: nothing here is learned, so these can be stored.
        See :meth:`forward` for arguments and errors.
        """
        parts, found = self._parts(xs, lengths)
        return [
            x[:, 0] if info.kind == "utterance" else mean_over_time(x, found)
            for x, info in zip(parts, self.layers, strict=True)
        ]

    def reduce_means(self, means: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
        """The mean over time of the weighted sum, from each layer's.

        Sum and maps are linear, so this equals :meth:`forward` and then the mean over frames.

        Args:
            means: what :meth:`time_means` gives, or [B, L, D].

        Returns:
            [B, D].

        Raises:
            ShapeError: means do not fit the layers.
        """
        if isinstance(means, torch.Tensor):
            self._check_count(means.shape[1] if means.ndim == 3 else -1, len(self.layers))
            if self.maps is None:
                _check_width(means, self.layers[0])
                means = means.to(self.logits.dtype)
                summed: torch.Tensor = torch.tensordot(means, self.logits.softmax(0), ([1], [0]))
                return summed
            means = list(means.unbind(1))
        self._check_count(len(means), len(self.layers))
        for mean, info in zip(means, self.layers, strict=True):
            _check_width(mean, info)
        return self._weighted([m.to(self.logits.dtype) for m in means], range(len(self.layers)))

    def weights(self) -> torch.Tensor:
        """softmax(a), [L]; no gradient."""
        return self.logits.detach().softmax(0)

    def corrected(self, norms: torch.Tensor) -> torch.Tensor:
        """Weights times the size of what they weigh, as shares: ``s_l n_l / sum_k s_k n_k``.

        A layer with large numbers needs a small weight to count for much; the softmax alone hides
        it.

        Args:
            norms: typical length of a frame of each layer in the sum, [L].

        Raises:
            ShapeError: not one norm a layer.
            UsageError: a norm is negative or not finite, or all are 0.
        """
        self._check_count(len(norms) if norms.ndim == 1 else -1, len(self.layers))
        sized = self.weights() * norms.to(self.logits)
        if not bool(torch.isfinite(sized).all()) or bool((sized < 0).any()) or not sized.sum() > 0:
            raise UsageError(
                "norms of layers cannot correct the weights",
                got=norms.tolist(),
                expected="finite numbers from 0, at least one above",
            )
        return sized / sized.sum()

    def _check_count(self, found: int, wanted: int) -> None:
        if found != wanted:
            raise ShapeError(
                "tensors do not fit the layers of the weighting",
                got="another number of dimensions" if found < 0 else f"{found} layers",
                expected=f"{wanted} layers ({', '.join(info.name for info in self.layers)})",
            )

    def _parts(
        self, xs: torch.Tensor | Sequence[torch.Tensor], lengths: Lengths
    ) -> tuple[torch.Tensor | list[torch.Tensor], torch.Tensor]:
        """Layers of the sum, normalised and on one grid: [L, B, T, D] or a list; and lengths."""
        self._check_count(len(xs), self.given)
        plain = self._resampler is None and not self._whole and isinstance(lengths, torch.Tensor)
        if isinstance(xs, torch.Tensor) and plain and len(self._kept) == self.given:
            assert isinstance(lengths, torch.Tensor)
            for info in self.layers:
                _check_width(xs, info, 4)
            return self._normed(xs.to(self.logits.dtype)), lengths
        each = list(lengths) if not isinstance(lengths, torch.Tensor) else [lengths] * self.given
        self._check_count(len(each), self.given)
        if self._resampler is not None and isinstance(lengths, torch.Tensor):
            raise UsageError(
                "layers of different frame grids need a length each",
                got="lengths of one grid",
                expected="a tensor [B] a layer",
            )
        parts, own = [], []
        for i, info in zip(self._kept, self.layers, strict=True):
            x = xs[i].to(self.logits.dtype)
            x = x[:, None] if info.kind == "utterance" and x.ndim == 2 else x
            _check_width(x, info, 3)
            parts.append(self._normed(x))
            own.append(each[i])
        timed = [parts[i] for i in self._timed]
        if not timed:
            return parts, torch.ones(len(parts[0]), dtype=torch.int64, device=parts[0].device)
        if self._resampler is not None:
            timed, found = self._resampler(timed, [own[i] for i in self._timed])
        else:
            frames = min(x.shape[1] for x in timed)
            timed = [x[:, :frames] for x in timed]
            found = torch.stack([own[i] for i in self._timed]).amin(0)
        for i, x in zip(self._timed, timed, strict=True):
            parts[i] = x
        return parts, found

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[-1:], eps=1e-5) if self.normalise else x

    def _sum(self, parts: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
        if isinstance(parts, torch.Tensor):
            if self.maps is None:
                summed: torch.Tensor = torch.tensordot(self.logits.softmax(0), parts, dims=1)
                return summed
            parts = list(parts)
        if not self._timed or not self._whole:
            return self._weighted(parts, range(len(parts)))
        # A vector that is the same in all frames is added to them, not copied into each.
        timed = self._weighted([parts[i] for i in self._timed], self._timed)
        return timed + self._weighted([parts[i] for i in self._whole], self._whole)

    def _weighted(self, parts: Sequence[torch.Tensor], which: Sequence[int]) -> torch.Tensor:
        """Sum over some layers of their part times their weight, through their maps."""
        chosen = torch.as_tensor(list(which), device=self.logits.device)
        shares = self.logits.softmax(0)[chosen]
        if self.maps is None:
            summed: torch.Tensor = torch.tensordot(shares, torch.stack(list(parts)), dims=1)
            return summed
        # One product for all maps: sum_l s_l (W_l x_l + b_l) = [s_1 W_1, s_2 W_2, ..] x + s b.
        maps = [self.maps.get_submodule(str(i)) for i in which]
        each = [m.get_parameter("weight") for m in maps]
        weight = torch.cat([s * w for s, w in zip(shares, each, strict=True)], dim=1)
        bias = shares @ torch.stack([m.get_parameter("bias") for m in maps])
        return functional.linear(torch.cat(list(parts), dim=-1), weight, bias)


def _kept(layers: Sequence[LayerInfo], utterance: UtteranceLayers | None) -> tuple[int, ...]:
    """Positions of the layers in the sum."""
    if utterance not in (None, "repeat", "leave out"):
        raise UsageError(
            "unknown way with utterance layers",
            got=utterance,
            expected="'repeat' or 'leave out'",
        )
    if not layers:
        raise UsageError("a weighting needs layers", got="none", expected="at least one")
    timed = tuple(i for i, info in enumerate(layers) if info.kind == "frame")
    if not timed or len(timed) == len(layers) or utterance == "repeat":
        return tuple(range(len(layers)))
    if utterance == "leave out":
        return timed
    names = [info.name for info in layers if info.kind == "utterance"]
    raise UsageError(
        "utterance layers have no frames to be summed with those of other layers",
        got=", ".join(names),
        expected="to be told what to do with them",
        fix="utterance='repeat' puts them into every frame, 'leave out' leaves them out",
    )


def _one_width(layers: Sequence[LayerInfo]) -> None:
    if len({info.width for info in layers}) > 1:
        raise UsageError(
            "layers of different width cannot be summed as they are",
            got=", ".join(f"{info.name}: {info.width}" for info in layers),
            expected="one width",
            fix=f"width={max(info.width for info in layers)} learns a linear map a layer to a "
            "common width; or choose layers of one width",
        )


def _check_width(x: torch.Tensor, info: LayerInfo, ndim: int | None = None) -> None:
    if x.shape[-1] != info.width or (ndim is not None and x.ndim != ndim):
        raise ShapeError(
            f"what is given for layer {info.name} does not fit it",
            got=list(x.shape),
            expected=f"{info.width} numbers a frame"
            + (", [B, D] or [B, 1, D]" if info.kind == "utterance" else ""),
        )
