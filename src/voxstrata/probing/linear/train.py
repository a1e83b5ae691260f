"""Training of many linear probes on cached means, exactly as each would be trained alone.

The heads of keyword spotting, intent classification, speaker identification and emotion recognition
are Linear, mean over time, Linear, without anything between (s3prl, ``downstream/model.py``):
linear up to the mean, so the mean can be taken first and once. A step then reads B rows of D
numbers instead of running the model; parameters and Adam's two moments are what is left to move
(``docs/probing.md``, "Speed").
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.numerics.threads import Slots, on_threads
from voxstrata.probing.linear.heads import Heads, common_width
from voxstrata.probing.linear.probes import Part, Plan, Probe, Trained, check

CACHE_BYTES = 24 << 20
"""Parameters and moments of the heads that are trained side by side: much more than a core's cache
gains nothing, and of sums of mapped layers, whose parameters are many small ones, fewer heads than
that take longer each (docs/benchmarks.md, "Threads of the probing job")."""


def train_linear(
    parts: Mapping[str, Part],
    classes: Sequence[int],
    probes: Sequence[Probe],
    plan: Plan,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    workers: int | Slots = 1,
    done: Callable[[int], None] = lambda _probes: None,
) -> list[Trained]:
    """Train heads; each is the one that training it alone would give.

    Args:
        parts: "train", "dev" and "test".
        classes: classes of each group.
        probes: the heads.
        plan: the protocol's constants.
        dtype: of features and heads.
        device: where.
        workers: threads, or places shared with others; each trains a batch of heads of its own.
        done: told how many heads are finished, as they are.

    Returns:
        the trained heads, in the order of ``probes``.

    Raises:
        see :func:`voxstrata.probing.linear.probes.check`.
    """
    check(parts, classes, probes)
    held = {
        name: Part([x.to(device, dtype) for x in part.layers], part.targets.to(device))
        for name, part in parts.items()
    }
    widths = [x.shape[1] for x in held["train"].layers]
    batches = list(side_by_side(probes, widths, sum(classes), plan, dtype))
    found: dict[int, Trained] = {}

    def work(batch: list[int]) -> None:
        for position, trained in zip(
            batch,
            _train([probes[i] for i in batch], held, classes, plan, dtype, device),
            strict=True,
        ):
            found[position] = trained
        done(len(batch))

    on_threads(work, batches, workers)
    return [found[i] for i in range(len(probes))]


def side_by_side(
    probes: Sequence[Probe],
    widths: Sequence[int],
    classes: int,
    plan: Plan,
    dtype: torch.dtype,
) -> Iterator[list[int]]:
    """Positions of probes that are trained together: as many layers of the same widths, and few
    enough that what a step moves stays in the cache."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, probe in enumerate(probes):
        alike.setdefault(tuple(widths[p] for p in probe.layers), []).append(i)
    size = torch.finfo(dtype).bits // 8
    for shape, members in alike.items():
        inner = common_width(shape, plan)
        numbers = inner * plan.hidden + plan.hidden * classes
        if len(set(shape)) > 1:
            numbers += sum(width * inner for width in shape)
        together = max(1, CACHE_BYTES // (4 * size * numbers))
        for begin in range(0, len(members), together):
            yield members[begin : begin + together]


def order(n: int, plan: Plan, seed: int, weights: torch.Tensor | None) -> Iterator[torch.Tensor]:
    """Examples of each step, int64 [B]: epochs in random order, or draws with replacement.

    The last batch of an epoch is smaller, as with the loaders of the published code.
    """
    if n < 1:
        raise UsageError("there is nothing to train on", got="no example")
    generator = torch.Generator().manual_seed(seed + 1)
    while True:
        if weights is not None:
            epoch = torch.multinomial(weights, n, replacement=True, generator=generator)
        else:
            epoch = torch.randperm(n, generator=generator)
        yield from (epoch[i : i + plan.batch] for i in range(0, n, plan.batch))


def dealt(targets: torch.Tensor, seed: int) -> torch.Tensor:
    """Targets given to other examples: a permutation of the rows."""
    generator = torch.Generator().manual_seed(seed + 2)
    return targets[torch.randperm(len(targets), generator=generator).to(targets.device)]


def score(said: NDArray[np.int64], true: NDArray[np.int64], measure: str) -> float:
    """A measure of predictions [N, G]: an example is right when all its groups are.

    Args:
        said, true: int64 [N, G].
        measure: "accuracy"; "group-accuracy", each group scored by itself; "balanced-accuracy",
            the mean over the classes of recall; or "macro-f1", their mean F1. Classes are those of
            ``true``, combinations of groups where there are several.
    """
    if measure == "group-accuracy":
        return float((said == true).mean())
    right = (said == true).all(axis=1)
    if measure == "accuracy":
        return float(right.mean())
    if measure == "macro-f1":
        from sklearn.metrics import f1_score

        _, codes = np.unique(np.concatenate([true, said]), axis=0, return_inverse=True)
        one, other = codes.reshape(2, -1)
        named = np.unique(one)
        return float(f1_score(one, other, labels=named, average="macro", zero_division=0))
    _, of = np.unique(true, axis=0, return_inverse=True)
    of = of.reshape(-1)
    return float(np.mean([right[of == c].mean() for c in range(int(of.max()) + 1)]))


def _train(
    probes: Sequence[Probe],
    parts: Mapping[str, Part],
    classes: Sequence[int],
    plan: Plan,
    dtype: torch.dtype,
    device: str,
) -> list[Trained]:
    train = parts["train"]
    widths = [train.layers[p].shape[1] for p in probes[0].layers]
    heads = Heads(probes, widths, sum(classes), plan, dtype, device)
    labels = {
        probe: {
            name: dealt(part.targets, probe.seed)
            if probe.control and name != "test"
            else part.targets
            for name, part in parts.items()
        }
        for probe in probes
    }
    orders = {}
    for probe in probes:
        key = (probe.seed, probe.control)
        if key not in orders:
            even = _evenly(labels[probe]["train"]) if plan.balanced else None
            orders[key] = order(len(train.targets), plan, probe.seed, even)
    starts = np.cumsum([0, *classes])
    seen: list[list[float]] = [[] for _ in probes]
    kept: list[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None]
    kept = [None] * len(probes)
    truth = {probe: labels[probe]["dev"].cpu().numpy() for probe in probes}
    for step in range(1, plan.steps + 1):
        chosen = {key: next(one).to(device) for key, one in orders.items()}
        index = [chosen[probe.seed, probe.control] for probe in probes]
        rows = [
            torch.stack(
                [train.layers[probe.layers[i]][at] for probe, at in zip(probes, index, strict=True)]
            )
            for i in range(len(widths))
        ]
        logits = heads.logits(rows)
        loss = logits.new_zeros(())
        for group in range(len(classes)):
            target = torch.stack(
                [labels[p]["train"][at, group] for p, at in zip(probes, index, strict=True)]
            )
            part = logits[..., starts[group] : starts[group + 1]]
            loss = loss + torch.nn.functional.cross_entropy(
                part.flatten(0, 1), target.flatten(), reduction="sum"
            ) / len(index[0])
        heads.update(loss, plan.clip)
        if step % plan.every == 0 or step == plan.steps:
            weights = heads.weights().double().cpu().numpy()
            for k, probe in enumerate(probes):
                said = _say(heads, k, probe, parts["dev"], starts)
                value = score(said, truth[probe], plan.measure)
                if kept[k] is None or value > max(seen[k]):
                    kept[k] = step, _say(heads, k, probe, parts["test"], starts), said, weights[k]
                seen[k].append(value)
    diverged = heads.diverged.tolist()
    return [
        Trained(probe, tuple(seen[k]), held[0], held[1], held[2], held[3], bool(diverged[k]))
        for k, (probe, held) in enumerate(zip(probes, kept, strict=True))
        if held is not None
    ]


def _say(
    heads: Heads, k: int, probe: Probe, part: Part, starts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Classes that one head chooses, int64 [N, G]."""
    with torch.no_grad():
        logits = heads.logits([part.layers[p] for p in probe.layers], one=k)
        said = [logits[:, a:b].argmax(dim=1) for a, b in itertools.pairwise(starts)]
    return torch.stack(said, dim=1).cpu().numpy()


def _evenly(targets: torch.Tensor) -> torch.Tensor:
    """Chances with which every class of the first group is drawn as often, [N]."""
    _, number, counts = torch.unique(targets[:, 0], return_inverse=True, return_counts=True)
    chances: torch.Tensor = (1.0 / counts.double())[number].cpu()
    return chances
