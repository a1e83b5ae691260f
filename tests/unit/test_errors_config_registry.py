"""The ground floor: errors, registry, configs, files."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from pathlib import Path

import pytest

from voxstrata.config import Config, build, load, read_yaml
from voxstrata.errors import ConfigError, ShapeError, StorageError, UnknownNameError, UsageError
from voxstrata.files import (
    atomic_write,
    fingerprint,
    lock,
    read_json,
    storage_errors,
    write_json,
    writing_in,
)
from voxstrata.registry import Registry


class Settings(Config):
    depth: int = 3
    name: str = "a"


def test_an_error_says_what_got_expected_and_fix() -> None:
    error = ShapeError("rows differ", got=(3, 2), expected="the same rows", fix="cut one")
    assert str(error).splitlines() == [
        "rows differ",
        "  got:      (3, 2)",
        "  expected: the same rows",
        "  fix:      cut one",
    ]
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ShapeError
    assert (str(again), again.fix) == (str(error), "cut one")


def test_registry_is_lazy_and_offers_near_names() -> None:
    registry: Registry[object] = Registry("thing", "voxstrata.nothing")
    registry.add("path", "pathlib:Path", "a path")
    registry.add("missing", "no.such.module:x")
    assert registry.get("path") is Path
    assert registry.names() == ["path", "missing"]
    with pytest.raises(UnknownNameError, match="did you mean 'path'"):
        registry.get("pathh")
    with pytest.raises(UsageError, match="registered twice"):
        registry.add("path", "os:sep")
    with pytest.raises(UsageError, match="no usable target"):
        registry.add("bad", "os.sep")
    with pytest.raises(ModuleNotFoundError):
        registry.get("missing")


def test_configs_are_frozen_and_refuse_unknown_keys_all_at_once() -> None:
    settings = build(Settings, {"depth": 4})
    with pytest.raises(ValueError, match="frozen"):
        settings.depth = 5  # type: ignore[misc]
    with pytest.raises(ConfigError) as caught:
        build(Settings, {"dept": 4, "name": 3}, source="x.yaml")
    assert "2 problem(s)" in str(caught.value)
    assert "did you mean 'depth'" in str(caught.value)
    assert "name: 3" in str(caught.value.got)
    assert "keys depth" in str(caught.value.expected)
    with pytest.raises(ConfigError) as caught:
        build(Settings, {"depth": "deep"})
    assert "deep" in str(caught.value.got)
    assert "keys" not in str(caught.value.expected)  # no key was wrong: only the value's rule


def test_flags_win_over_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("depth: 7\nname: file\n")
    assert load(Settings, path, {"name": "flag", "depth": None}).model_dump() == {
        "depth": 7,
        "name": "flag",
    }


@pytest.mark.parametrize(
    ("text", "match"),
    [("a: [", "not valid YAML"), ("- 1", "mapping"), ("x: !!python/object:os.system", "YAML")],
)
def test_bad_yaml_is_named(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=match):
        read_yaml(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path / "absent.yaml")


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_storage_errors_have_remedies(tmp_path: Path) -> None:
    for number in (errno.ENOSPC, errno.EROFS, errno.EACCES):
        with pytest.raises(StorageError) as caught, storage_errors(tmp_path):
            raise OSError(number, os.strerror(number))
        assert caught.value.fix
    with pytest.raises(IsADirectoryError), storage_errors(tmp_path):
        raise IsADirectoryError


def test_a_full_device_is_named() -> None:
    def fill() -> None:
        with storage_errors(Path("/dev/full")), open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(StorageError, match="No space left"):
        fill()


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(StorageError, match="damaged"):
        read_json(tmp_path / "x.json")


def test_a_folder_is_held_by_one_run(tmp_path: Path) -> None:
    with lock(tmp_path), pytest.raises(StorageError, match="another run"), lock(tmp_path):
        pass
    with lock(tmp_path):
        pass


def test_fingerprint_ignores_key_order() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_what_a_job_cannot_write_is_told_and_what_it_cannot_read_is_left_alone(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    for number in (errno.ENOSPC, errno.EROFS):
        with pytest.raises(StorageError, match="cannot write"), writing_in(out):
            raise OSError(number, os.strerror(number))
    with pytest.raises(StorageError, match="models"), writing_in(out):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(out / "models"))
    with pytest.raises(PermissionError), writing_in(out):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "corpus"))
    with pytest.raises(StorageError, match="No space"), writing_in(out):
        raise shutil.Error([("a", "b", "[Errno 28] No space left on device")])
