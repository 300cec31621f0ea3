"""TorchScript archives: loaded without letting the program do anything but compute."""

import warnings
from pathlib import Path

import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models.files import one_line
from saliency_audit.models.vet_tensors import archive
from saliency_audit.models.vet_torchscript import vet_graphs, vet_source


def load_torchscript(path: Path, *, trust_pickle: bool = False) -> nn.Module:
    """Load a TorchScript program on the CPU.

    Its objects are read by torch's own reader, which knows TorchScript's types only.

    Args:
        path: the archive.
        trust_pickle: let the program do whatever it says.

    Returns:
        The program, a ``torch.jit.ScriptModule``.

    Raises:
        InputError: it cannot be loaded, or could do anything but compute.
    """
    try:
        if not trust_pickle:
            with archive(path) as reader:
                vet_source(path, reader)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]
                path, map_location="cpu"
            )
        if not trust_pickle:
            vet_graphs(path, network)
        return network
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(
            f"'{path}' cannot be loaded as TorchScript ({one_line(error)}); save it again with "
            "torch.jit.save, or give the state dict with --arch"
        ) from error
