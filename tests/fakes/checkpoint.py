"""A checkpoint as its authors publish it, with the files beside it that must not be taken."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path


def safetensors(value: float = 1.0) -> bytes:
    """Make a whole, tiny safetensors file: one tensor of one number."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<f", value)


WEIGHTS = safetensors()
CHECKPOINT: dict[str, bytes] = {
    "config.json": b'{"model_type": "t5"}',
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b"{}",
    "vocab.txt": b"a\n",
    "README.md": b"# read me\n",
    "pytorch_model.bin": b"\x80\x04.",
    "modeling.py": b"raise SystemExit\n",
    "training.ckpt": b"\x80\x04.",
}
TAKEN = {"config.json", "model.safetensors", "tokenizer.json", "vocab.txt"}


def write(folder: Path, files: Mapping[str, bytes] = CHECKPOINT) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
