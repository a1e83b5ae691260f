"""QUESST 2014: spoken queries, documents and which query occurs where (lhotse has no recipe)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from voxstrata.corpora.recipes._common import Job, Row
from voxstrata.corpora.recipes._files import (
    child,
    find_root,
    folders,
    read_lines,
    tree_files,
)
from voxstrata.corpora.registry import PrepareReport, Progress

LISTS = {
    "docs": "language_key_utterances.lst",
    "dev": "language_key_dev.lst",
    "eval": "language_key_eval.lst",
}
PLACES = {"docs": "Audio", "dev": "dev_queries", "eval": "eval_queries"}
SUPERB = "nnenglish"
"""The language key that SUPERB uses: non-native English."""
LAYOUT = (
    "a folder with Audio/, dev_queries/, eval_queries/ and scoring/ with language_key_*.lst and "
    "groundtruth_quesst14_dev/, ..._eval/ (quesst14Database/ of the archive)"
)


def read_truth(path: Path) -> dict[str, list[str]]:
    """Documents by query from a ground-truth RTTM.

    Its lines are ``LEXEME DOCUMENT CHANNEL START DURATION QUERY ...``; other lines and
    ``NO_KEYWORD`` are passed over. A document counts once.
    """
    found: dict[str, list[str]] = {}
    for line in read_lines(path):
        cells = line.split()
        if len(cells) < 6 or cells[0] != "LEXEME" or cells[5] == "NO_KEYWORD":
            continue
        documents = found.setdefault(cells[5], [])
        if cells[1] not in documents:
            documents.append(cells[1])
    return found


class Quesst14:
    """See :class:`voxstrata.corpora.registry.Recipe` and docs/recipes.md."""

    name = "quesst14"
    title = "QUESST 2014"
    licence = "see the terms in its archive"
    homepage = "https://speech.fit.vutbr.cz/software/quesst-2014-multilingual-database-query-by-example-keyword-spotting"
    summary = "spoken queries and documents, with ground truth"
    parts: tuple[str, ...] = (*LISTS, *(f"{part}-all" for part in LISTS))
    on_request: tuple[str, ...] = tuple(f"{part}-all" for part in LISTS)
    tiers: tuple[str, ...] = ("language", "role", "matches")

    def prepare(
        self,
        source: Path,
        out: Path,
        *,
        parts: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> PrepareReport:
        """Prepare SUPERB's language (``docs``, ``dev``, ``eval``); parts ending in ``-all``
        hold all languages and are prepared only when asked for."""
        job = Job(self, source, out, parts, progress)
        root = find_root(
            job.source,
            lambda p: child(p, "Audio") is not None and child(p, "scoring") is not None,
            corpus=self.title,
            layout=LAYOUT,
            names=("quesst14Database",),
        )
        job.details = {"root": str(root)}
        truths = self._truths(job, root)
        rows = {part: list(self._rows(job, root, part, truths)) for part in LISTS}
        languages: dict[str, str | None] = {}
        for part, found in rows.items():
            languages |= {row.id: row.tiers["language"] for row in found}
            if job.wants(part):
                job.write(part, [r for r in found if r.tiers["language"] == SUPERB])
            if job.wants(f"{part}-all"):
                job.write(f"{part}-all", found)
        self._trials(job, truths, rows, languages)
        return job.finish(LAYOUT)

    def _truths(self, job: Job, root: Path) -> dict[str, dict[str, list[str]]]:
        """Ground truths by name of their folder after ``groundtruth_quesst14_``."""
        found = {}
        for folder in folders(child(root, "scoring") or root):
            _, mark, name = folder.name.partition("groundtruth_quesst14_")
            if not mark:
                continue
            rttms = [p for p in sorted(folder.glob("*.rttm")) if not p.name.startswith(".")]
            if not rttms:
                job.problem(folder, "no .rttm in it: no ground truth from it")
                continue
            found[name] = read_truth(rttms[0])
        for name in ("dev", "eval"):
            if name not in found:
                job.problem(
                    root / "scoring" / f"groundtruth_quesst14_{name}", "missing: no ground truth"
                )
        return found

    def _rows(
        self, job: Job, root: Path, part: str, truths: dict[str, dict[str, list[str]]]
    ) -> Iterator[Row]:
        place = child(root, PLACES[part])
        if place is None:
            job.problem(root / PLACES[part], "missing")
            return
        path = child(root, f"scoring/{LISTS[part]}")
        keys: dict[str, str] = {}
        if path is None:
            job.problem(root / "scoring" / LISTS[part], f"missing: no {SUPERB} part {part}")
        else:
            for line in read_lines(path):
                cells = line.split()
                if len(cells) != 2:
                    job.problem(path, f"malformed line, ignored: {line[:80]}")
                else:
                    keys[Path(cells[0]).stem] = cells[1]
        here = set()
        for audio in tree_files(place, (".wav",), job.problem, known=(".lst", ".txt", ".list")):
            id = audio.stem
            here.add(id)
            if keys and id not in keys:
                job.problem(audio, f"{id} is not in {LISTS[part]}: no language")
            tiers: dict[str, Any] = {
                "language": keys.get(id),
                "role": "document" if part == "docs" else "query",
            }
            if part != "docs":
                tiers["matches"] = truths.get(part, {}).get(id)
            yield Row(id, audio, tiers)
        for id in sorted(set(keys) - here):
            job.problem(place / f"{id}.wav", "listed, but the recording is missing")

    def _trials(
        self,
        job: Job,
        truths: dict[str, dict[str, list[str]]],
        rows: dict[str, list[Row]],
        languages: dict[str, str | None],
    ) -> None:
        """Every query of a language with every document of it, and whether it occurs there."""
        documents = [row.id for row in rows["docs"] if languages[row.id] == SUPERB]
        written = []
        for name, truth in truths.items():
            queries = [row.id for row in rows.get(name.split("_")[0], [])]
            queries = [query for query in queries if languages[query] == SUPERB]
            if "_" in name:
                # Truths of one query type (dev_T1) speak of its queries only.
                queries = [query for query in queries if query in truth]
            hits = {query: set(truth.get(query, ())) for query in queries}
            pairs = [
                ("1" if document in hits[query] else "0", query, document)
                for query in queries
                for document in documents
            ]
            if pairs:
                job.trials(name, pairs)
                written.append(name)
        job.details["trials"] = written


RECIPE = Quesst14()
