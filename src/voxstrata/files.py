"""Files on disk: atomic writes, hashes, the cache folder, locks."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from voxstrata.errors import StorageError

_LEFT = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")
"""Names of half-written files: ``tempfile`` puts eight characters in the middle."""

OWN_TREES = frozenset(
    {"state", "store", "embeddings", "vectors", "counts", "sets"}
    | {"steps", "scoring", "scores", "finding"}  # of pruned models
)
"""Folders of an output folder in which runs write deeper than one folder down. Runs inside of a run
(a part of a study) lock folders of their own; whatever else lies there may be anybody's."""

_NUMBER = re.compile(r"[0-9]+\Z")


def cache_dir(*parts: str) -> Path:
    """The cache folder (``VOXSTRATA_CACHE``, else ``~/.cache/voxstrata``), not created."""
    root = os.environ.get("VOXSTRATA_CACHE")
    base = Path(root) if root else Path.home() / ".cache" / "voxstrata"
    return base.joinpath(*parts)


def typed_path(text: str | Path) -> Path:
    """The path that somebody typed, its ``~`` written out where there is such a home.

    Any text will do; whether a file can be called so is for ``os.path.exists`` and its kin to say,
    which answer no where :meth:`pathlib.Path.exists` raises (a name too long, a folder that may
    not be looked into).
    """
    try:
        return Path(text).expanduser()
    except (RuntimeError, ValueError):  # nobody of that name; or a NUL, which no name can hold
        return Path(text)


def why_absent(path: Path) -> str:
    """Why nothing can be found at ``path``, in the system's words; empty where something can."""
    try:
        path.stat()
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError:
        return "no file can be called so"
    return ""


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's write errors into :class:`StorageError` with a remedy."""
    try:
        yield
    except OSError as error:
        remedies = {
            errno.ENOSPC: "free some space or choose another output folder; what was finished is "
            "kept, and the same command goes on from there",
            errno.EDQUOT: "your quota is used up: free some space, then run the same command again",
            errno.EROFS: "the file system is read-only: choose another output folder",
            errno.EACCES: "you may not write there: choose another output folder",
            errno.EPERM: "you may not write there: choose another output folder",
            errno.EFBIG: "a limit on file sizes (`ulimit -f`, or the file system's) is too low: "
            "raise it or choose another output folder, then run the same command again",
            errno.EIO: "the disk or the connection to it failed: choose another output folder",
            errno.ENAMETOOLONG: "choose a shorter name",
            errno.ENOTDIR: "a part of this path is a file: choose another output folder",
            errno.EEXIST: "there is a file of that name: choose another output folder",
            errno.EISDIR: "there is a folder of that name: choose another name",
        }
        # A missing file inside the block may be the caller's own input; only the path's is ours.
        named = Path(error.filename) if isinstance(error.filename, str | os.PathLike) else None
        if error.errno == errno.ENOENT and named in (path, *path.parents):
            remedies[errno.ENOENT] = "it cannot be made there: choose another output folder"
        if error.errno in remedies:
            raise StorageError(
                f"cannot write {path}", got=os.strerror(error.errno), fix=remedies[error.errno]
            ) from error
        raise


@contextlib.contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """:func:`storage_errors` for all that a job does in its folder, copying and deleting too.

    Errors that reading somebody's input may raise as well are turned only where they name a file
    in the folder.
    """
    try:
        yield
    except shutil.Error as error:  # of copied folders: a list of (from, to, why), or a text
        first = error.args[0][0] if error.args and isinstance(error.args[0], list) else error
        raise StorageError(
            f"cannot copy into {folder}",
            got=str(first[-1] if isinstance(first, tuple) else first),
            fix="free some space or choose another output folder",
        ) from error
    except OSError as error:
        named = Path(error.filename) if isinstance(error.filename, str | os.PathLike) else None
        of_writing = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
        if of_writing or (named is not None and folder in named.parents):
            with storage_errors(named or folder):
                raise
        raise


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Write a file so that a reader (or a crash) sees the old one or the new one, whole.

    Yields:
        a binary file; it is flushed, synced and renamed onto ``path`` when the block ends
        without an error, and removed otherwise.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = _temporary(path)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.chmod(name, 0o666 & ~_umask())
                os.replace(name, path)  # before the file is closed, and with it unlocked
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _temporary(path: Path) -> tuple[int, str]:
    """A new file beside ``path``, locked for as long as it is open: so others see it is in use."""
    import fcntl

    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # tidied away before it was locked


def _tidy(folder: Path) -> None:
    """Remove what :func:`atomic_write` left where its process was killed: in a folder, in the
    folders in it, and all the way down in those that are the runs' own (:data:`OWN_TREES`)."""
    import fcntl

    left, inner = _look(folder, links=True)
    todo = [(path, path.name in OWN_TREES) for path in inner]
    while todo:
        place, deeper = todo.pop()
        found, inner = _look(place, links=False)
        left += found
        if deeper:
            todo += [(path, True) for path in inner]
    for path in left:
        # Opened for writing: NFS gives no exclusive lock otherwise.
        with contextlib.suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while it is being written
            path.unlink()


def _look(folder: Path, *, links: bool) -> tuple[list[Path], list[Path]]:
    """Half-written files of a folder and the folders in it, from one listing of names and kinds:
    stores have some 100,000 files, and to ask after each would take longer than all else here.

    Args:
        folder: one that cannot be listed, or is gone by now, has neither.
        links: whether links to folders count as folders; further down they could lead in circles.
    """
    left: list[Path] = []
    inner: list[Path] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _LEFT.fullmatch(entry.name):  # others' have other names
                left.append(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False) or (
                links and entry.is_symlink() and os.path.isdir(entry.path)
            ):
                inner.append(Path(entry.path))
    return left, inner


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def numbered(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder in the order of the numbers that their names end in.

    Numbers outgrow the zeros they are written with, and as text ``shard-100000`` comes before
    ``shard-99999``.

    Args:
        folder: where to look.
        pattern: of names, as for :meth:`pathlib.Path.glob`; names without a number are left out.
    """
    found = [(_NUMBER.search(path.stem), path) for path in folder.glob(pattern)]
    return [path for _, path in sorted((int(number[0]), path) for number, path in found if number)]


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically (UTF-8, sorted keys, no NaN)."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8") + b"\n")


def read_json(
    path: Path, fix: str = "make it anew with the command that wrote it, or copy it again"
) -> Any:
    """Read JSON.

    Args:
        path: the file.
        fix: the remedy where it cannot be read.

    Raises:
        StorageError: the file is missing, cannot be read, or is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StorageError(f"{path} is missing", fix=fix) from None
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read", got=error.strerror or str(error), fix=fix
        ) from None
    except (ValueError, RecursionError) as error:  # no text, no JSON, endless digits or brackets
        raise StorageError(f"{path} is damaged", got=str(error), expected="JSON", fix=fix) from None


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """Sixteen hex digits that identify a JSON-like value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


_LOCKS: list[io.FileIO] = []
"""Open lock files of this process."""


def _let_go() -> None:
    """In a child of a fork: a lock is held as long as anybody has its file open, and loader
    processes outlive a killed run by seconds, in which nobody could go on with it."""
    for file in _LOCKS:
        file.close()
    _LOCKS.clear()


os.register_at_fork(after_in_child=_let_go)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for one process; a second run is refused, a dead one's lock is free, and
    the half-written files it left are removed (those of a run's own folders however deep).

    Raises:
        StorageError: another live process holds the folder.
    """
    import fcntl

    with storage_errors(folder):
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what a full disk did not take must not be tried again when it is closed.
        file = (folder / ".lock").open("a+b", buffering=0)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink == 0:  # removed by a refused run just now
                raise BlockingIOError
        except BlockingIOError:
            file.seek(0)
            raise StorageError(
                f"another run is using {folder}",
                got=f"lock held by process {file.read().decode(errors='replace').strip() or '?'}",
                fix="wait for it, stop it, or choose another output folder",
            ) from None
        except OSError as error:
            raise StorageError(
                f"{folder} cannot be locked, so that two runs could write into it at once",
                got=os.strerror(error.errno or 0),
                fix="choose an output folder on a file system with locks",
            ) from None
        try:
            with storage_errors(folder):
                file.seek(0)
                file.truncate()
                file.write(str(os.getpid()).encode())
            _tidy(folder)
            _LOCKS.append(file)
            yield
        except BaseException:
            # A refused command leaves no empty folder behind, and no folder of the user's goes.
            if made and [entry.name for entry in folder.iterdir()] == [".lock"]:
                with contextlib.suppress(OSError):
                    (folder / ".lock").unlink()
                    folder.rmdir()
            raise
        finally:
            if file in _LOCKS:
                _LOCKS.remove(file)


@contextlib.contextmanager
def built_once(final: Path, done: str) -> Iterator[Path | None]:
    """Build a folder that appears whole or not at all, by one process at a time.

    Args:
        final: the folder.
        done: file that is written last, by which a finished folder is known.

    Yields:
        a folder beside it to build in, with what a stopped build left there; it takes the place of
        ``final`` at the end. ``None`` where ``final`` is finished already.

    Raises:
        StorageError: the disk fails, another process is at it, or ``final`` is something else.
    """
    if (final / done).exists():
        yield None
        return
    work = final.with_name(f"{final.name}.partial")
    with storage_errors(work), lock(work):
        if (final / done).exists():  # another process finished it just now
            shutil.rmtree(work)
            yield None
            return
        if final.exists():
            raise StorageError(
                f"{final} is not finished",
                got=f"no {done} in it",
                fix="delete that folder and run the same command again",
            )
        yield work
        (work / ".lock").unlink(missing_ok=True)
        work.rename(final)
