"""Scores of many prompts and many token ids in a folder, kept whole through any kill.

``run.json`` pins what the scores depend on. Each chunk (one prompt, one range of tokens)
is a file that appears complete or not at all, so whatever is missing is what remains to
be done, and so does a chunk that has changed on the disk since. When all are there they are
merged into one Parquet file and removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.whole_files import whole

__all__ = ["Chunk", "ScoreStore", "whole"]


_DIGEST = hashlib.sha256().digest_size
"""Bytes behind a chunk's own that say whether they are as they were written."""


@dataclass(frozen=True)
class Chunk:
    """Tokens ``start`` to ``stop`` (places in the list of ids, not ids) of one prompt."""

    prompt: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The chunk's file name."""
        return f"prompt{self.prompt:04d}-{self.start:09d}.npy"


class ScoreStore:
    """One run's folder.

    Args:
        folder: made if it is not there.
        settings: all that the scores depend on, as JSON can hold it.
        prompts: how many prompts.
        tokens: how many tokens a prompt.
        chunk_size: tokens a chunk, at least one.

    Raises:
        DataError: if the folder holds a run with other settings, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        prompts: int,
        tokens: int,
        chunk_size: int,
    ) -> None:
        self.merged = folder / "tokens.parquet"
        self._folder = folder
        self._parts = folder / "chunks"
        self._manifest = folder / "run.json"
        self._prompts = prompts
        self.tokens = tokens
        self._settings = json.loads(json.dumps({**settings, "chunk_size": chunk_size}))
        self.chunks = [
            Chunk(prompt, start, min(start + chunk_size, tokens))
            for prompt in range(prompts)
            for start in range(0, tokens, chunk_size)
        ]
        try:
            self._open()
        except OSError as error:
            raise DataError(f"{folder} cannot be written ({error.strerror}).") from error

    @property
    def complete(self) -> bool:
        """Whether the merged file is there."""
        return self.merged.exists()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of the folder, where the system has locks.

        Raises:
            DataError: if another run is writing there.
        """
        try:
            import fcntl
        except ImportError:  # not on Windows
            yield
            return
        # A lock that the system drops when the process dies, on no file of its own.
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataError(
                    f"another process is writing to {self._folder}; wait for it, or start "
                    "processes that share the work with accelerate launch."
                ) from error
            except OSError:  # a file system without locks
                pass
            yield
        finally:
            os.close(folder)

    def missing(self) -> list[Chunk]:
        """Return the chunks that are still to be scored."""
        if self.complete:
            return []
        return [chunk for chunk in self.chunks if self._saved(chunk) is None]

    def save(self, chunk: Chunk, scores: Sequence[float]) -> None:
        """Write one chunk's scores; a kill leaves the whole file or none."""
        values = np.asarray(scores, dtype=np.float32)
        if len(values) != chunk.stop - chunk.start:
            raise ValueError(f"{chunk} needs {chunk.stop - chunk.start} scores, got {len(values)}")
        buffer = BytesIO()
        np.save(buffer, values)
        data = buffer.getvalue()
        with whole(self._parts / chunk.name) as temporary:
            temporary.write_bytes(data + hashlib.sha256(data).digest())

    def _saved(self, chunk: Chunk) -> NDArray[np.float32] | None:
        """Return a chunk's scores; None if they are not there or not as they were written."""
        try:
            found = (self._parts / chunk.name).read_bytes()
        except OSError:
            return None
        data, digest = found[:-_DIGEST], found[-_DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            return None
        scores: NDArray[np.float32] = np.load(BytesIO(data))
        return scores if scores.shape == (chunk.stop - chunk.start,) else None

    def merge(self, columns: pa.Table, prompts: Mapping[str, str]) -> None:
        """Write ``tokens.parquet``, a row group for each prompt.

        Args:
            columns: one row for each token, in the order of the chunks.
            prompts: from prompt id to text.

        Raises:
            DataError: if chunks are missing, as when processes do not share the folder.
        """
        if missing := self.missing():
            raise DataError(
                f"{len(missing)} of {len(self.chunks)} chunks are missing from {self._folder}; all "
                "processes must write to one shared folder. Run the same command again to go on."
            )
        with whole(self.merged) as temporary:
            self._write(temporary, columns, prompts)

    def clean(self) -> None:
        """Remove the chunks of a merged run, and what killed processes left."""
        shutil.rmtree(self._parts, ignore_errors=True)
        for left in self._folder.glob(f".{self.merged.name}.*"):  # by a merge that was killed
            left.unlink(missing_ok=True)

    def read(self, prompt: int) -> pa.Table:
        """Return one prompt's rows of the merged file.

        Raises:
            DataError: if it is damaged.
        """
        try:
            with pq.ParquetFile(self.merged, page_checksum_verification=True) as file:
                return file.read_row_group(prompt)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: object) -> DataError:
        reason = str(error).strip().partition("\n")[0]
        return DataError(
            f"{self.merged} is damaged ({reason}); remove it and run the same command again."
        )

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._manifest.exists():
            self._compare(self._read_manifest())
            if self.complete:
                self._check_merged()
        elif self.complete:
            raise DataError(
                f"{self._folder} holds a {self.merged.name} without its {self._manifest.name}, so "
                "what it was made with is not known; choose another folder with -o."
            )
        else:  # every process of a run writes the same, so it does not matter which is last
            text = json.dumps(self._settings, indent=1, ensure_ascii=False) + "\n"
            with whole(self._manifest) as temporary:
                temporary.write_text(text, encoding="utf-8")
        if not self.complete:
            self._parts.mkdir(exist_ok=True)

    def _check_merged(self) -> None:
        try:
            groups = pq.read_metadata(self.merged).num_row_groups
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from error
        if groups < self._prompts:
            raise self._damaged(f"it has {groups} of {self._prompts} prompts")

    def _read_manifest(self) -> Any:
        try:
            return json.loads(self._manifest.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{self._manifest} is not the JSON that a run writes ({error}); choose another "
                "folder with -o."
            ) from error

    def _compare(self, there: Mapping[str, Any]) -> None:
        changed = list(_differences(there, self._settings))
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise DataError(
                f"{self._folder} holds a run with other settings ({changed[0]}{more}), and mixing "
                "the two would be wrong; choose another folder with -o, or repeat those settings."
            )

    def _write(self, path: Path, columns: pa.Table, prompts: Mapping[str, str]) -> None:
        schema = pa.schema(
            [
                *columns.schema,
                pa.field("prompt_id", pa.string()),
                pa.field("prompt", pa.string()),
                pa.field("score", pa.float32()),
            ],
            metadata={"rm_value_tasks": json.dumps(self._settings, ensure_ascii=False)},
        )
        rows = columns.num_rows
        with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
            for number, (name, text) in enumerate(prompts.items()):
                parts = [chunk for chunk in self.chunks if chunk.prompt == number]
                scores = np.concatenate([self._needed(part) for part in parts])
                arrays = [pa.array([name] * rows), pa.array([text] * rows), pa.array(scores)]
                table = pa.table([*columns.columns, *arrays], schema=schema)
                writer.write_table(table, row_group_size=max(1, rows))

    def _needed(self, chunk: Chunk) -> NDArray[np.float32]:
        if (scores := self._saved(chunk)) is None:
            raise DataError(f"{self._parts / chunk.name} went missing; run the same command again.")
        return scores


def _differences(there: Any, now: Any, where: str = "") -> Iterator[str]:
    """Yield each setting that differs, as ``model_args.dtype: 'float16' there, ... now``."""
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted(there.keys() | now.keys()):
            inner = f"{where}.{key}" if where else key
            yield from _differences(there.get(key), now.get(key), inner)
    elif isinstance(there, list) and isinstance(now, list) and len(there) != len(now):
        yield f"{where}: {len(there)} there, {len(now)} now"
    elif isinstance(there, list) and isinstance(now, list):
        for number, (before, after) in enumerate(zip(there, now, strict=True), start=1):
            yield from _differences(before, after, f"{where}.{number}")
    elif there != now:
        shown = [repr(value) for value in (there, now)]
        shown = [text if len(text) <= 80 else text[:79] + "…" for text in shown]
        yield f"{where}: {shown[0]} there, {shown[1]} now"
