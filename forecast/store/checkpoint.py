"""What counts as a checkpoint, and its digest: weights in safetensors, the rest plain text."""

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from forecast.core.errors import FileMissing, InvalidRequest, UnsupportedFormat, VersionDamaged

WEIGHTS = "*.safetensors"

# Tokenizers come as text, JSON or a SentencePiece `*.model`. Nothing that can hold a pickle
# or code is ever taken: *.bin, *.ckpt, *.pt, *.pkl and *.py stay where they are.
PATTERNS = (WEIGHTS, "*.json", "*.txt", "*.model")

DIGESTS = "SHA256SUMS"  # of weights that are installed with the gateway, as sha256sum prints them

_CHUNK_BYTES = 1 << 20


def require_weights(folder: Path) -> None:
    """Refuse a folder that holds no safetensors, below it either.

    Raises:
        UnsupportedFormat: the weights are in another format, or there are none.
    """
    if next(_weights(folder), None) is None:
        raise UnsupportedFormat(
            "the source holds no safetensors file; weights in other formats (pickles such as"
            " *.bin, *.ckpt, *.pt) are not loaded: convert them to safetensors"
        )


def find_checkpoint(root: Path) -> Path:
    """Find the one checkpoint at or below a folder, as wrappers put it in `artifacts/<name>`.

    Raises:
        UnsupportedFormat: there are no weights in safetensors.
        InvalidRequest: there are several checkpoints at the same depth.
    """
    require_weights(root)
    level = [root]
    while level:
        found = [folder for folder in level if _is_checkpoint(folder)]
        if len(found) > 1:
            names = ", ".join(str(folder.relative_to(root)) for folder in found)
            raise InvalidRequest(
                f"the source holds several checkpoints ({names});"
                " name one: mlflow:runs:/<run id>/<path of the checkpoint>"
            )
        if found:
            return found[0]
        level = [below for folder in level for below in sorted(folder.iterdir()) if below.is_dir()]
    raise FileMissing("the source holds weights but no folder of a checkpoint")


def digest(folder: Path) -> str:
    """Compute the SHA-256 of the weights, once per state of the files.

    One file: its own digest, as hubs print it. Several: the digest of their lines
    `<sha256>  <path below the folder>`, in the order of the paths, as `sha256sum` prints them.
    """
    files = sorted(_weights(folder))
    if len(files) == 1:
        return file_digest(files[0])
    lines = (f"{file_digest(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def require_digests(folder: Path) -> None:
    """Compare the weights in a folder with the digests listed beside them.

    Raises:
        VersionDamaged: a file is missing, not listed, or not what was written.
    """
    lines = (folder / DIGESTS).read_text().splitlines()
    listed = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    found = {file.relative_to(folder).as_posix(): file_digest(file) for file in _weights(folder)}
    if found != listed:
        names = sorted(dict(listed.items() ^ found.items()))
        raise VersionDamaged(
            f"the installed weights {', '.join(names)} are not those that were published; install"
            " the package again"
        )


def file_digest(path: Path) -> str:
    """Compute the SHA-256 of a file, unless it is as it was when last asked."""
    state = path.stat()
    return _file_digest(str(path), state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_digest(path: str, inode: int, size_bytes: int, changed_ns: int) -> str:  # noqa: ARG001 -- the key
    with Path(path).open("rb") as file:
        sha256 = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            sha256.update(chunk)
    return sha256.hexdigest()


def _is_checkpoint(folder: Path) -> bool:
    """Tell whether a folder is one, in the authors' layout or in that of `save_model`."""
    plain = next(folder.glob(WEIGHTS), None) is not None
    return plain or ((folder / "config.json").is_file() and (folder / "weights").is_dir())


def _weights(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".safetensors"):
                yield Path(parent, name)
