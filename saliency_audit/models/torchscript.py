"""TorchScript archives: loaded without letting the program touch files."""

import re
import warnings
from pathlib import Path

import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models.files import one_line

# All that TorchScript can reach outside of tensors: torch.save and mapping a file into memory.
# The bare names: its grammar allows spaces and line breaks before the parenthesis.
_TOUCHES_FILES = re.compile(rb"[\w.]*\b(?:save|from_file|load_tensor)\b")


def load_torchscript(path: Path, *, trust_pickle: bool = False) -> nn.Module:
    """Load a TorchScript program on the CPU.

    Its objects are read by torch's own reader, which knows TorchScript's types only.

    Args:
        path: the archive.
        trust_pickle: let the program write files.

    Returns:
        The program, a ``torch.jit.ScriptModule``.

    Raises:
        InputError: it cannot be loaded, or would read or write files.
    """
    try:
        if not trust_pickle:
            reader = torch._C.PyTorchFileReader(str(path))
            for record in reader.get_all_records():
                seen = (
                    _TOUCHES_FILES.search(reader.get_record(record)) if _is_code(record) else None
                )
                if seen:
                    raise InputError(
                        f"'{path}' names {seen[0].decode()} in {record}, which reads or writes "
                        "files, so it was not loaded; if you trust its author, add --trust-pickle"
                    )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = torch.jit.load(  # type: ignore[no-untyped-call]
                path, map_location="cpu"
            )
            return network
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"'{path}' cannot be loaded as TorchScript ({one_line(error)}); save it again with "
            "torch.jit.save, or give the state dict with --arch"
        ) from error


def _is_code(record: str) -> bool:
    return record.lower().endswith(".py")
