"""Evaluation while a model trains: hidden codes of held-out speech, and phones layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from voxstrata.corpora import Corpus
from voxstrata.errors import AudioError, CorpusError
from voxstrata.frontend import FrontEnd
from voxstrata.frontend.config import KaldiConfig
from voxstrata.models.melhubert.network import MelHubert
from voxstrata.numerics.kmeans import assign
from voxstrata.training.objective import Batch, Made, Objective
from voxstrata.training.objectives.masked.examples import collate
from voxstrata.training.objectives.masked.masks import draw_mask
from voxstrata.training.objectives.masked.objective import predict
from voxstrata.training.objectives.masked.phones import agreement, frame_accuracy, labels
from voxstrata.training.objectives.masked.recordings import finish, raw_front
from voxstrata.training.objectives.masked.settings import MaskConfig
from voxstrata.training.objectives.masked.sources import Source, nearest_frames, with_context
from voxstrata.types import SAMPLE_RATE, Utterance

_MASKS, _CHOICE = 5303, 5304  # purpose numbers of the random generators
_TOGETHER = 16
"""Recordings of like length that are run together."""

CONTEXT = 5
"""Log-mel frames on each side that the wider of the two baselines sees."""


class HeldOut:
    """Loss and accuracy on an evaluation corpus, with masks that stay the same, and phones.

    Results, by ``NAME_``: ``masked_loss``, ``masked_accuracy``, ``unmasked_accuracy``;
    ``unigram_loss``, the loss of knowing only how frequent each code is; with a phone tier also
    ``codes_pnmi``, ``phones_LAYER``: share of frames whose phone a cross-validated linear map
    finds (percent), and the same from one log-mel frame (``phones_logmel``) and from eleven
    (``phones_logmel11``).

    Args:
        name: short name of the corpus.
        corpus: recordings; up to ``seconds`` of them in seeded order.
        front: front end of the network, with its statistics.
        source: what is clustered.
        centres: [K, D'].
        mask: how frames are hidden.
        seconds: of speech used.
        device: where the network is.
    """

    def __init__(
        self,
        name: str,
        corpus: Corpus,
        front: FrontEnd,
        source: Source,
        centres: NDArray[np.float64],
        mask: MaskConfig,
        seconds: float,
        device: str,
    ) -> None:
        self.name, self._corpus, self._front, self._source = name, corpus, front, source
        self._centres, self._mask, self._seconds, self._device = centres, mask, seconds, device
        self._batches: list[Batch] | None = None
        self._fixed: dict[str, float] = {}
        self._phones: NDArray[np.int64] | None = None
        self._groups = np.zeros(0, dtype=np.int64)

    def __call__(self, objective: Objective) -> dict[str, float]:
        """The results as they stand.

        Raises:
            CorpusError: no recording of the corpus can be used.
        """
        if self._batches is None:
            self._load()
        assert self._batches is not None
        network = cast(MelHubert, objective.network())
        loss, right, seen, visible = 0.0, 0.0, 0, [0.0, 0]
        layers: dict[str, list[NDArray[np.float32]]] = {}
        for batch in self._batches:
            moved = {k: v.to(self._device) for k, v in batch.items()}
            logits, codes, hidden = predict(network, moved)
            hit = logits.argmax(dim=1) == codes
            loss += float(functional.cross_entropy(logits[hidden], codes[hidden], reduction="sum"))
            right += float(hit[hidden].sum())
            seen += int(hidden.sum())
            visible = [visible[0] + float(hit[~hidden].sum()), visible[1] + int((~hidden).sum())]
            if self._phones is not None:
                self._collect(network, moved, layers)
        found = {
            "masked_loss": loss / seen,
            "masked_accuracy": right / seen,
            "unmasked_accuracy": visible[0] / max(1, visible[1]),
            **self._fixed,
        }
        for layer, parts in layers.items():
            found[f"phones_{layer}"] = self._accuracy(np.concatenate(parts))
        return {f"{self.name}_{key}": value for key, value in found.items()}

    def _collect(
        self, network: MelHubert, batch: Batch, layers: dict[str, list[NDArray[np.float32]]]
    ) -> None:
        lengths = batch["lengths"]
        stack = network.stack(batch["features"], lengths, last=network.options.layers)
        for layer in (str(n) for n in range(network.options.layers + 1)):
            for row, count in enumerate(lengths.tolist()):
                part = stack[layer][row, :count].float().cpu().numpy()
                layers.setdefault(layer, []).append(part)

    def _accuracy(self, rows: NDArray[np.float32]) -> float:
        assert self._phones is not None
        kept = self._phones >= 0
        return 100 * frame_accuracy(rows[kept], self._phones[kept], self._groups[kept])

    def _load(self) -> None:
        """Features, codes and masks, in batches of like length; what does not change with the
        network is computed here."""
        config = cast(KaldiConfig, self._front.config)
        raw = raw_front(self._front)
        own: list[tuple[Utterance, Made, NDArray[np.float32]]] = []
        left = self._seconds
        order = np.random.default_rng(_CHOICE).permutation(len(self._corpus))
        for place in order.tolist():
            utterance = self._corpus.utterances[place]
            if left <= 0:
                break
            try:
                wave = utterance.read()
                if len(wave) < max(self._front.minimum, self._source.minimum) or not np.any(wave):
                    continue
            except AudioError:
                continue
            frames = raw(torch.from_numpy(wave)[None])[0].numpy()
            features = finish(frames, config).numpy()
            if len(features) < self._mask.length:
                continue
            rows = self._source.rows([wave])[0]
            near = nearest_frames(self._source.grid, len(rows), self._front.grid, len(features))
            rng = np.random.default_rng([_MASKS, place])
            mask = draw_mask(
                len(features),
                rng,
                probability=self._mask.probability,
                length=self._mask.length,
                min_spans=self._mask.min_spans,
            )
            made: Made = {
                "features": features,
                "codes": assign(rows, self._centres)[0][near],
                "mask": mask,
                "seconds": np.array(len(wave) / SAMPLE_RATE, dtype=np.float32),
                "item": np.array(place),
            }
            own.append(
                (utterance, made, finish(frames, config.model_copy(update={"stack": 1})).numpy())
            )
            left -= len(wave) / SAMPLE_RATE
        if not own:
            raise CorpusError(
                f"no recording of the evaluation corpus {self.name!r} can be used",
                got=f"{len(self._corpus)} recordings",
                expected=f"speech of at least {self._mask.length} frames",
            )
        own.sort(key=lambda one: (len(one[1]["codes"]), int(one[1]["item"])))
        self._batches = [
            collate([made for _, made, _ in own[i : i + _TOGETHER]])
            for i in range(0, len(own), _TOGETHER)
        ]
        codes = np.concatenate([made["codes"] for _, made, _ in own])
        mask = np.concatenate([made["mask"] for _, made, _ in own])
        self._fixed = {"unigram_loss": _entropy(codes[mask])}
        self._label(own, codes)

    def _label(
        self,
        own: Sequence[tuple[Utterance, Made, NDArray[np.float32]]],
        codes: NDArray[np.int64],
    ) -> None:
        names: list[str | None] = []
        for utterance, made, _ in own:
            names += labels(utterance, self._front.grid, len(made["codes"]))
        speakers = [str(u.tiers.get("speaker", u.id)) for u, _, _ in own]
        if len(set(speakers)) < 2:
            speakers = [u.id for u, _, _ in own]
        known = sorted({one for one in names if one is not None})
        found = agreement(codes, names)
        if found is None or len(set(speakers)) < 2:
            return
        number = {name: i for i, name in enumerate(known)}
        self._phones = np.array([-1 if one is None else number[one] for one in names])
        group = {name: i for i, name in enumerate(sorted(set(speakers)))}
        self._groups = np.concatenate(
            [np.full(len(m["codes"]), group[s]) for s, (_, m, _) in zip(speakers, own, strict=True)]
        )
        grid = raw_front(self._front).grid
        alone, wide = [], []
        for _, made, frames in own:
            near = nearest_frames(grid, len(frames), self._front.grid, len(made["codes"]))
            alone.append(frames[near])
            wide.append(with_context(frames, CONTEXT)[near])
        self._fixed |= {
            "codes_pnmi": found.pnmi,
            "phones_logmel": self._accuracy(np.concatenate(alone)),
            "phones_logmel11": self._accuracy(np.concatenate(wide)),
        }


def _entropy(codes: NDArray[np.int64]) -> float:
    p = np.bincount(codes) / len(codes)
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())
