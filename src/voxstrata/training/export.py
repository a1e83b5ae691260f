"""A trained network as a model folder: weights, card, log, what fine-tuning needs."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import voxstrata
from voxstrata.errors import AudioError, CheckpointError
from voxstrata.frontend import FrontEnd
from voxstrata.models.card import write_model
from voxstrata.streaming.progress import bar
from voxstrata.training.data.items import Items
from voxstrata.training.encoders import frames_needed
from voxstrata.training.engine import Told
from voxstrata.training.log import LOG
from voxstrata.training.objective import BESIDE, Objective
from voxstrata.training.prepare import Prepared


def export(
    prepared: Prepared,
    objective: Objective,
    told: Told,
    front: FrontEnd,
    folder: Path,
    command: str,
    wall_s: float,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """Write the model folder of a finished run and load it back, strictly.

    Args:
        prepared: the run.
        objective: with its final weights.
        told: what the run told.
        front: front end of the network.
        folder: to write; the run's log is copied from the folder above it.
        command: what was typed.
        wall_s: seconds the last sitting took.
        progress: show a bar.

    Returns:
        the card.

    Raises:
        StorageError: it cannot be written.
        CheckpointError: what was written does not load back as the same numbers.
    """
    from voxstrata.models.load import load_model

    config = prepared.config
    network = objective.network().eval()
    mean = None
    if config.model.family == "ecapa" and config.run.mean_of:
        mean = training_mean(
            network, prepared.items, front, prepared.device, config.run.mean_of, progress
        )
    beside = objective.beside()
    card = write_model(
        folder,
        {
            "name": config.name,
            "family": config.model.family,
            "summary": f"{config.objective['name']}, {told.seconds / 3600:.1f} h of audio seen",
            "training": _training(prepared, told, command, wall_s, speakers=bool(beside)),
            "metrics": {"while training": told.valid},
        },
        network,
        front,
        dtype=config.run.weights,
        mean=mean,
        beside={BESIDE: beside} if beside else {},
    )
    log = folder.parent / LOG
    if log.exists():
        shutil.copyfile(log, folder / LOG)
    again: Any = load_model(str(folder))
    kind = getattr(torch, config.run.weights)
    for name, value in again._module.state_dict().items():
        own = network.state_dict()[name].detach().cpu()
        if own.is_floating_point():
            own = own.to(kind).to(torch.float32)
        if not torch.equal(value, own):
            raise CheckpointError(f"{folder} does not load back: the tensor {name} differs")
    return card


def training_mean(
    network: nn.Module, items: Items, front: FrontEnd, device: str, count: int, progress: bool
) -> NDArray[np.float32]:
    """Mean embedding [D] of whole training recordings at their own speed, each once.

    At most ``count`` of them, evenly spread over the corpus; unreadable ones, and those that are
    too short for the network, are left out.
    """
    utterances = items.corpus.utterances
    chosen = np.unique(np.linspace(0, len(utterances) - 1, min(count, len(utterances))).astype(int))
    total: torch.Tensor | None = None
    found, least = 0, frames_needed(network)
    with torch.no_grad(), bar("mean embedding", len(chosen), "recordings", show=progress) as step:
        for index in chosen:
            step(1)
            try:
                features = front(torch.from_numpy(utterances[index].read())[None])
            except AudioError:
                continue
            if features.shape[1] < least:  # one NaN would spoil the mean
                continue
            row = network(features.to(device))[0].double().cpu()
            total = row if total is None else total + row
            found += 1
    if total is None:
        raise AudioError(
            "no training recording could be embedded",
            got=f"{len(chosen)} unreadable or too short ones",
            expected="at least one for the mean",
            fix="leave short recordings out (data.min_s), or set run.mean_of to 0",
        )
    mean: NDArray[np.float32] = (total / found).float().numpy()
    return mean


def _training(
    prepared: Prepared, told: Told, command: str, wall_s: float, *, speakers: bool
) -> dict[str, Any]:
    config, items = prepared.config, prepared.items
    found: dict[str, Any] = {
        "objective": config.objective,
        "config": config.model_dump(mode="json", exclude_defaults=True),
        "corpora": list(config.data.corpora),
        "recordings": len(items.corpus),
        "hours": items.corpus.seconds / 3600,
        "speakers_count": items.speakers,
        "corpus_fingerprint": items.corpus.fingerprint,
        "steps": prepared.steps,
        "audio_hours_seen": told.seconds / 3600,
        "busy_s": told.busy_s,
        "wall_s_of_last_sitting": wall_s,
        "seed": config.run.seed,
        "command": command,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "voxstrata": voxstrata.__version__,
        "commit": commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, {prepared.device}",
    }
    if speakers:
        found["speakers"] = list(items.names)
    return found


def commit() -> str | None:
    """The commit of the checkout this runs from, with a plus sign where files were changed."""
    place = Path(voxstrata.__file__).parent
    git = ["git", "-C", str(place)]
    try:
        # Not the repository of somebody who merely keeps an environment inside theirs.
        own = subprocess.run(
            [*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, timeout=10
        )
        found = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=10
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "."],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if own.returncode or found.returncode:
        return None
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "")
