"""What a model file is, told by its content; the suffix is only what its owner called it."""

import hashlib
import zipfile
from pathlib import Path
from typing import Literal

from saliency_audit.errors import InputError
from saliency_audit.regular import refuse_irregular

Kind = Literal["exported", "torchscript", "checkpoint", "safetensors"]

# How a file starts, and what it then is. Checked in this order.
_FOREIGN = {
    b"version https://git-lfs": "is a git-lfs pointer, not the file itself; run: git lfs pull",
    b"\x89HDF": "is an HDF5 file (Keras?)",
    b"GGUF": "is a GGUF file",
    b"\x1f\x8b": "is gzipped; unpack it first",
    b"\x93NUMPY": "is a NumPy array",
    b"\x89PNG": "is a PNG image",
    b"\xff\xd8\xff": "is a JPEG image",
}
_FIX = "give a .pt2 program, a TorchScript archive or a state dict (.pt, .pth, .safetensors)"


def kind_of(path: Path) -> Kind:
    """Tell what a model file holds, without loading it.

    Args:
        path: the file.

    Returns:
        "exported" (``torch.export``), "torchscript", "checkpoint" (what ``torch.save`` writes,
        zipped or legacy) or "safetensors".

    Raises:
        InputError: it is none of these; the message says what it looks like.
    """
    if not path.is_dir():
        refuse_irregular(path, "model")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        raise InputError(f"model file '{path}' does not exist") from None
    except IsADirectoryError:
        raise InputError(f"'{path}' is a folder; {_FIX}") from None
    except OSError as error:
        raise InputError(f"model file '{path}' cannot be read: {error.strerror}") from error
    if size == 0:
        raise InputError(f"model file '{path}' is empty")
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            raise InputError(f"model file '{path}' {what}")
    # Not just PK: an archive may begin as another format of programs does, which torch prefers.
    if start.startswith(b"PK\x03\x04") and start[4:8] != b"PTMF":
        return _kind_of_zip(path)
    if _is_safetensors(start):
        if 8 + int.from_bytes(start[:8], "little") > size:
            raise InputError(f"model file '{path}' is a truncated safetensors file")
        return "safetensors"
    # Pickle protocol 2 and later; torch.save has never written an older one.
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "checkpoint"
    raise InputError(f"model file '{path}' is no model that is known here{_look(start)}; {_FIX}")


def one_line(error: BaseException) -> str:
    """What an error of another library says, short enough for a message of one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":.")[:160]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        raise InputError(f"model file '{path}' is a truncated zip archive") from None
    # Everything that torch writes lies in one folder, named after the file.
    inside = {name.partition("/")[2] for name in names}
    if "archive_format" in inside:
        return "exported"
    if "serialized_exported_program.json" in names:
        raise InputError(
            f"model file '{path}' was exported by torch < 2.8; export it again with a newer one"
        )
    if ".data/extern_modules" in inside:
        raise InputError(
            f"model file '{path}' is a torch.package archive, which runs its own code when "
            "loaded; save the state dict instead and give it with --arch"
        )
    if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
        return "torchscript"
    if "data.pkl" in inside:
        return "checkpoint"
    shown = ", ".join(names[:3]) or "nothing"
    raise InputError(f"model file '{path}' is a zip archive without a model (it holds {shown})")


def _is_safetensors(start: bytes) -> bool:
    # Eight bytes of header length, then the header: a JSON object.
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000


def _look(start: bytes) -> str:
    """What unknown content looks like, for a message."""
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        # A character cut in two by the end of the sample is no sign of binary content.
        text = start[: error.start].decode() if error.start > len(start) - 4 else ""
    if not "".join(text.split()).isprintable() or not text.strip():
        return f" (it starts with the bytes {start[:4].hex(' ')})"
    if text.lstrip().lower().startswith(("<!doctype html", "<html")):
        return " (it is an HTML page; a failed download?)"
    return f" (it is text: '{' '.join(text.split())[:40]}')"
