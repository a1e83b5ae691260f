"""The hub, through its own client: the local cache first, the network only for what is missing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from voxstrata.errors import MissingDependencyError, ModelError
from voxstrata.models.huggingface.source import WEIGHTS, offline, weight_files

_NETWORK = "check the network, or name a local directory; HF_HUB_OFFLINE=1 keeps to the cache"


def snapshot(repo: str, revision: str | None, *, weights: bool) -> Path:
    """Folder of the local cache with a model's files, downloaded if need be.

    A cached model is not looked up again, so a run repeats itself; delete it from the cache, or
    name a revision, to get another.

    Args:
        repo: hub id.
        revision: branch, tag or commit; ``None`` for the default branch.
        weights: whether weights are needed.

    Raises:
        ModelError: not cached while offline, no such model or revision, no access, no network.
    """
    folder = cached(repo, revision)
    if folder is not None and (not weights or weight_files(folder)):
        return folder
    if offline():
        raise ModelError(
            f"{repo} is not in the local cache and the network is off",
            got="HF_HUB_OFFLINE is set"
            + ("; configuration cached, weights not" if folder is not None else ""),
            expected=f"{repo} in {_cache_root()}",
            fix="unset HF_HUB_OFFLINE once to download it, name a local directory, or use the "
            f"untrained twin 'random:{repo}'",
        )
    return _download(repo, revision, weights)


def cached(repo: str, revision: str | None) -> Path | None:
    """The cached snapshot that holds ``config.json``, if any; never uses the network."""
    client = _client()
    found = client.try_to_load_from_cache(
        repo, "config.json", cache_dir=_cache_root(), revision=revision
    )
    return Path(found).parent if isinstance(found, str) else None


def _download(repo: str, revision: str | None, weights: bool) -> Path:
    folder = Path(_fetch(repo, "config.json", revision, needed=True)).parent
    _fetch(repo, "preprocessor_config.json", revision, needed=False)
    if not weights:
        return folder
    for name in WEIGHTS:
        if file := _fetch(repo, name, revision, needed=False):
            if name.endswith(".index.json"):
                from voxstrata.models.huggingface.tensors import shards_of

                for shard in shards_of(Path(file)):
                    _fetch(repo, shard, revision, needed=True)
            return folder
    raise ModelError(
        f"{repo} on the hub has no weights that voxstrata reads", expected=" or ".join(WEIGHTS)
    )


def _fetch(repo: str, name: str, revision: str | None, *, needed: bool) -> str:
    """Path of one file, downloaded; an empty string where an optional file does not exist."""
    client = _client()
    errors = client.utils
    try:
        path: str = client.hf_hub_download(repo, name, revision=revision, cache_dir=_cache_root())
        return path
    except errors.LocalEntryNotFoundError as error:  # also an EntryNotFoundError: comes first
        raise ModelError(
            f"{name} of {repo} cannot be downloaded",
            got="the hub cannot be reached, and the file is not in the local cache",
            fix=_NETWORK,
        ) from error
    except errors.EntryNotFoundError as error:
        if not needed:
            return ""
        raise ModelError(
            f"{repo} on the hub has no {name}", got=str(error).splitlines()[0]
        ) from error
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{repo} on the hub needs its terms accepted",
            fix="accept them on its page, then `hf auth login`",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{repo} on the hub has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no model {repo!r} on the hub, or it is private",
            fix="check the name; for a private model `hf auth login`",
        ) from error
    except Exception as error:  # HTTP libraries differ between versions of the client
        raise ModelError(
            f"{name} of {repo} cannot be downloaded",
            got=f"{type(error).__name__}: {error}".splitlines()[0],
            fix=_NETWORK,
        ) from error


def _client() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.utils
    except ImportError as error:
        raise MissingDependencyError(
            "huggingface_hub cannot be imported", got=str(error), fix="pip install huggingface_hub"
        ) from error
    return huggingface_hub


def _cache_root() -> str:
    """The hub's cache folder, by the environment of now and not of the first import."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return named
    if home := os.environ.get("HF_HOME"):
        return str(Path(home) / "hub")
    return str(_client().constants.HF_HUB_CACHE)
