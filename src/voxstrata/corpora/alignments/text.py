"""Text of alignment files, whatever its encoding, and errors that name the line."""

from __future__ import annotations

import codecs
import math
from pathlib import Path

from voxstrata.errors import LabelError


def read_text(path: Path) -> str:
    """The file's text: UTF-8 with or without a mark, UTF-16 with one.

    Raises:
        LabelError: the file is missing, no plain file, empty or in another encoding.
    """
    try:
        # A manifest may name anything, and a device or pipe need not end.
        if path.exists() and not path.is_file():
            raise LabelError(f"the alignment {path} is no file", expected="a plain file")
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise LabelError(f"cannot read the alignment {path}", got=str(error)) from None
    if not raw.strip():
        raise LabelError(f"the alignment {path} is empty", fix="export it again")
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise malformed(
            path, line, f"byte {raw[error.start]:#04x}", "UTF-8, or UTF-16 with a byte-order mark"
        ) from None


def malformed(path: Path, line: int, got: str, expected: str) -> LabelError:
    """The error for a line of an alignment file."""
    return LabelError(
        f"{path}, line {line}: malformed alignment",
        got=got,
        expected=expected,
        fix="correct the line or export the file again",
    )


def number(text: str, path: Path, line: int, what: str) -> float:
    """A finite number.

    Raises:
        LabelError: it is none; the message names file and line.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise malformed(path, line, repr(text), what)
    return value
