"""The stages of a run, each kept when it is done: start, passes of the mixture, iterations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from voxstrata.errors import NumericsError
from voxstrata.numerics.mixture import Aligner, Mixture, MixtureSums
from voxstrata.numerics.mixture_fit import enough, maximise, start
from voxstrata.numerics.variability import TotalVariability
from voxstrata.numerics.variability_fit import Method, improve, random_loading
from voxstrata.streaming.progress import bar
from voxstrata.streaming.runs import STATE
from voxstrata.training import state
from voxstrata.training.ivector.prepare import Prepared, refuse_few
from voxstrata.training.ivector.speech import Part, Speech, longest, sample
from voxstrata.training.ivector.statistics import StatisticsStore
from voxstrata.training.log import TrainLog

FEATURES = "features"

UBM, LIKELIHOOD = "ubm_log_likelihood", "log_likelihood"
"""Names in the log: a frame, of the mixture and of the total variability model."""


@dataclass
class Progress:
    """What is done, as a checkpoint holds it.

    Attributes:
        step: entries of the log so far.
        passes: of the mixture after its start; -1 before the start.
        iterations: of the total variability model; -1 before statistics are made.
        frames: of speech.
        mixture, selector: background mixture, and the diagonal one that chooses Gaussians.
        extractor: total variability model.
        bad: recordings that cannot be used, by id, with the reason.
    """

    step: int = 0
    passes: int = -1
    iterations: int = -1
    frames: int = 0
    mixture: Mixture | None = None
    selector: Mixture | None = None
    extractor: TotalVariability | None = None
    bad: dict[str, str] = field(default_factory=dict)

    def tensors(self) -> dict[str, Any]:
        """Plain values and tensors."""
        found: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        found["bad"] = dict(self.bad)
        for name, kind in _HELD.items():
            value = getattr(self, name)
            if value is not None:
                found |= {f"{name}.{part}": getattr(value, part).cpu() for part in kind[1]}
        return found

    @classmethod
    def of(cls, values: dict[str, Any], device: str) -> Progress:
        """From :meth:`tensors`."""
        found = cls(bad=dict(values["bad"]))
        for name in _PLAIN:
            setattr(found, name, int(values[name]))
        for name, (kind, parts) in _HELD.items():
            if f"{name}.{parts[0]}" in values:
                tensors = (values[f"{name}.{part}"].to(device) for part in parts)
                setattr(found, name, kind(*tensors))
        return found


_PLAIN = ("step", "passes", "iterations", "frames")
_MIXTURE = ("weights", "means", "covariances")
_HELD: dict[str, tuple[Any, tuple[str, ...]]] = {
    "mixture": (Mixture, _MIXTURE),
    "selector": (Mixture, _MIXTURE),
    "extractor": (TotalVariability, ("means", "covariances", "loading")),
}


class Stages:
    """A run at work.

    Args:
        prepared: the run.
        folder: output folder.
        progress: show bars.
    """

    def __init__(self, prepared: Prepared, folder: Path, progress: bool) -> None:
        self.prepared, self.folder, self.show = prepared, folder, progress
        config = prepared.config
        kept = folder / STATE / FEATURES if config.run.keep_features else None
        self.speech = Speech(prepared.corpus, prepared.features, config.run.part_s, kept)
        held = state.load(folder, prepared.identity)
        self.done = Progress.of(held, prepared.device) if held else Progress()
        self.log = TrainLog(folder, self.done.step)
        self.store = StatisticsStore(
            folder, prepared.identity, config.run.statistics, prepared.device
        )

    def run(self) -> Progress:
        """All stages that are not done yet.

        Raises:
            UsageError: less speech than Gaussians, or than the rank needs.
            NumericsError: a sum or likelihood is not finite.
        """
        self._start()
        self._passes()
        self._iterate()
        self._report_bad()
        self.log.close()
        return self.done

    def ivectors(self) -> torch.Tensor:
        """Of the recordings that were trained on [U, R]."""
        assert self.done.extractor is not None
        return self.store.ivectors(self.done.extractor)

    def _start(self) -> None:
        if self.done.passes >= 0:
            return
        config, gaussians = self.prepared.config, self.prepared.options.gaussians
        with self._bar("speech frames") as advance:
            rows = sample(
                self._counted(self.speech.parts(advance)),
                self.prepared.corpus.seconds,
                config.ubm.sample,
                config.run.seed,
            )
        enough(len(rows), gaussians)
        rows = rows.to(self.prepared.device)
        begun = start(
            rows, gaussians, seed=config.run.seed, iterations=config.ubm.start,
            floor=config.ubm.floor,
        )  # fmt: skip
        told = zip(begun.log_likelihoods, begun.components, strict=True)
        for likelihood, count in told:
            self._tell({"ubm_start_log_likelihood": likelihood, "gaussians": count})
        self.done.mixture, self.done.passes = begun.mixture, 0
        self.done.bad = dict(self.speech.bad)
        self._save()

    def _counted(self, parts: Iterator[Part]) -> Iterator[Part]:
        self.done.frames = 0
        for part in parts:
            self.done.frames += len(part.rows)
            yield part

    def _passes(self) -> None:
        config, options = self.prepared.config, self.prepared.options
        full = config.ubm.full if options.covariance == "full" else 0
        while self.done.passes < config.ubm.diagonal + full:
            mixture = self.done.mixture
            assert mixture is not None
            whole = self.done.passes >= config.ubm.diagonal
            if whole and mixture.diagonal:
                self.done.selector = mixture
                mixture = mixture.full()
            sums = self._pass(mixture, f"mixture, pass {self.done.passes + 1}")
            self.done.mixture = maximise(mixture, sums, floor=config.ubm.floor)
            self._tell({UBM: sums.mean_log_likelihood})
            self.done.passes += 1
            self._save()

    def _pass(self, mixture: Mixture, title: str) -> MixtureSums:
        sums = MixtureSums.of(mixture)
        aligner = self._aligner(mixture)
        with self._bar(title) as advance:
            for part in self.speech.parts(advance):
                rows = torch.from_numpy(part.rows).to(self.prepared.device, torch.float64)
                sums.add(rows, aligner)
        return sums

    def _aligner(self, mixture: Mixture) -> Aligner:
        """As the model will align; in the passes of the mixture nothing is dropped."""
        select = self.prepared.options.select
        chosen = self.done.selector if select is not None and not mixture.diagonal else None
        return Aligner(mixture, chosen, select or 1)

    def _iterate(self) -> None:
        config, options = self.prepared.config, self.prepared.options
        mixture = self.done.mixture
        assert mixture is not None
        plain = self._aligner(mixture)
        aligner = Aligner(mixture, plain.selector, plain.select, options.least_posterior)
        seconds = [u.duration_s for u in self.prepared.corpus.utterances]
        chosen = longest(seconds, config.data.longest)
        with bar("statistics", len(chosen), "recordings", show=self.show) as advance:
            totals = self.store.build(self.speech, aligner, chosen, advance)
        refuse_few(totals.recordings, options.rank)
        wanted = config.variability
        method = Method(
            wanted.covariance, wanted.divergence, wanted.expectation == "each",
            wanted.floor, wanted.least,
        )  # fmt: skip
        begin = self.done.extractor
        if begin is None:
            begin = random_loading(mixture, options.rank, config.run.seed)
        done, total = max(0, self.done.iterations), config.variability.iterations
        if self.done.iterations == total:
            return
        steps = (total - done) * len(method.steps) * totals.recordings
        with bar("total variability", steps, "recordings", show=self.show) as advance:
            for step in improve(
                begin, self.store.expect(advance), totals, total, method,
                done=done, watch=wanted.watch,
            ):  # fmt: skip
                # The state before the first iteration is already told where the run goes on.
                if step.log_likelihood is not None and (step.name != "start" or done == 0):
                    self._tell({LIKELIHOOD: step.log_likelihood, "iteration": step.iteration})
                if step.last:
                    self.done.extractor, self.done.iterations = step.model, step.iteration
                    self._save()
        if config.variability.iterations and self.done.extractor is None:
            raise NumericsError("no iteration of total variability was made")

    def _report_bad(self) -> None:
        for name, why in self.done.bad.items():
            self.log.add("bad", self.done.step, {"id": name, "what": why})

    def _tell(self, values: dict[str, float]) -> None:
        self.done.step += 1
        self.log.add("step", self.done.step, values)

    def _save(self) -> None:
        state.save(self.folder, {"identity": self.prepared.identity, **self.done.tensors()})

    def _bar(self, title: str) -> Any:
        return bar(title, self.prepared.corpus.seconds, "s of speech", show=self.show)
