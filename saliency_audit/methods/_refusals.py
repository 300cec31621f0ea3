"""What several methods refuse in the same words: no silently wrong map."""

from typing import NoReturn

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier


def refuse(method: str, model: Classifier, reason: str) -> NoReturn:
    """Say in one line why a method would give a wrong map of this network."""
    raise UnsupportedError(f"{method} would be wrong for {model.name}: {reason}")


def refuse_graph(method: str, graph: bool) -> None:
    """Refuse ``graph=True``: what is computed has no derivative.

    Raises:
        UnsupportedError: ``graph`` is set.
    """
    if graph:
        raise UnsupportedError(
            f"{method} cannot be differentiated; "
            "`saliency-audit list saliency` shows the methods that can"
        )


def refuse_softplus(method: str, model: Classifier) -> None:
    """Refuse a network that was trained with softplus in place of what its layers say.

    Raises:
        UnsupportedError: it was.
    """
    if model.activation is not None:
        raise UnsupportedError(
            f"{method} has a rule for ReLU, and {model.name} runs softplus instead; "
            "use gradient, smoothgrad or integrated-gradients"
        )


def refuse_torchscript(method: str, model: Classifier) -> None:
    """Refuse TorchScript: its functions cannot be replaced as they are called.

    Raises:
        UnsupportedError: it is.
    """
    if model.format == "torchscript":
        raise UnsupportedError(
            f"{method} follows the functions that a network calls, which TorchScript does not "
            "allow: give the state dict with --arch, or a .pt2 program"
        )
