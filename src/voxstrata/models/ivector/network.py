"""The tensors of an i-vector extractor, and its numbers in float64."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import nn

from voxstrata.models.ivector.options import IvectorOptions
from voxstrata.numerics.mixture import Aligner, Mixture, second_moments
from voxstrata.numerics.variability import Statistics, TotalVariability


class IvectorNetwork(nn.Module):
    """A background mixture that aligns frames, and a total variability model.

    Weights are stored in float32; all that is computed from them is float64.

    Args:
        options: sizes.

    Attributes:
        weights, ubm_means, ubm_covariances: of the background mixture, [C], [C, D] and [C, D] or
            [C, D, D].
        selector_weights, selector_means, selector_variances: of the diagonal mixture that chooses
            Gaussians; there where ``options.select`` is set.
        means, covariances, loading: of the extractor; loading is [C, D, R].
    """

    def __init__(self, options: IvectorOptions) -> None:
        super().__init__()
        self.options = options
        C, D, R = options.gaussians, options.width, options.rank
        shape = (C, D) if options.covariance == "diagonal" else (C, D, D)
        sizes: dict[str, tuple[int, ...]] = {
            "weights": (C,), "ubm_means": (C, D), "ubm_covariances": shape,
            "means": (C, D), "covariances": shape, "loading": (C, D, R),
        }  # fmt: skip
        if options.select is not None:
            sizes |= {"selector_weights": (C,), "selector_means": (C, D)}
            sizes |= {"selector_variances": (C, D)}
        for name, size in sizes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(size), requires_grad=False))

    def _double(self, name: str) -> torch.Tensor:
        found: torch.Tensor = self.get_parameter(name)
        return found.detach().to(torch.float64)

    @cached_property
    def mixture(self) -> Mixture:
        """The background mixture."""
        return Mixture(
            self._double("weights"), self._double("ubm_means"), self._double("ubm_covariances")
        )

    @cached_property
    def aligner(self) -> Aligner:
        """How frames are shared out."""
        options, selector = self.options, None
        if options.select is not None:
            parts = ("selector_weights", "selector_means", "selector_variances")
            selector = Mixture(*(self._double(name) for name in parts))
        return Aligner(self.mixture, selector, options.select or 1, options.least_posterior)

    @cached_property
    def extractor(self) -> TotalVariability:
        """The total variability model."""
        return TotalVariability(
            self._double("means"), self._double("covariances"), self._double("loading")
        )

    def fill(
        self, mixture: Mixture, selector: Mixture | None, extractor: TotalVariability
    ) -> IvectorNetwork:
        """Take over what was trained (or drawn); returns itself."""
        values = {
            "weights": mixture.weights, "ubm_means": mixture.means,
            "ubm_covariances": mixture.covariances, "means": extractor.means,
            "covariances": extractor.covariances, "loading": extractor.loading,
        }  # fmt: skip
        if self.options.select is not None and selector is not None:
            values |= {"selector_weights": selector.weights, "selector_means": selector.means}
            values |= {"selector_variances": selector.covariances}
        with torch.no_grad():
            for name, value in values.items():
                self.get_parameter(name).copy_(value)
        for name in ("mixture", "aligner", "extractor"):
            self.__dict__.pop(name, None)
        return self

    def statistics(self, frames: torch.Tensor) -> Statistics:
        """Baum-Welch statistics of one recording's speech frames [T, D] (T may be 0)."""
        return align(self.aligner, frames)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """The i-vector [R] of one recording's speech frames [T, D] float64."""
        return self.extractor.ivectors(self.statistics(frames))[0]


def align(aligner: Aligner, frames: torch.Tensor, second: torch.Tensor | None = None) -> Statistics:
    """Statistics of one recording [T, D], on the aligner's device, as a batch of one.

    Args:
        aligner: the background mixture.
        frames: speech.
        second: sums of squares [C, D] or products [C, D, D] that the recording is added to.
    """
    mixture = aligner.mixture
    rows = frames.to(mixture.means.device, torch.float64)
    count = torch.zeros_like(mixture.weights)
    first = torch.zeros_like(mixture.means)
    for block in aligner.blocks(rows):
        shares, _ = aligner.posteriors(block)
        count += shares.sum(dim=0)
        first += shares.T @ block
        if second is not None:
            second += second_moments(block, shares, diagonal=second.ndim == 2)
    return Statistics(count[None], first[None])
