"""Networks that return probabilities: their logarithm stands for the logits, and the way back.

Logits and log-probabilities have the same softmax; a softmax of probabilities would be another
model. Of outputs with a sigmoid each it is the log-odds. The network itself, and every file
made of it, goes on returning probabilities.
"""

from collections.abc import Callable, Collection
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SOFTMAX = {
    F.softmax,
    torch.softmax,
    Tensor.softmax,
    torch.ops.aten.softmax.int,
    torch.ops.aten._softmax.default,
}
SIGMOID = {
    F.sigmoid,
    torch.sigmoid,
    Tensor.sigmoid,
    torch.special.expit,
    torch.ops.aten.sigmoid.default,
}

LINEAR = {
    F.linear,
    torch.addmm,
    torch.ops.aten.linear.default,
    torch.ops.aten.addmm.default,
}


class Last(TorchFunctionMode):
    """Keeps what the last call of some functions was of, and what it gave."""

    def __init__(self, functions: Collection[Any]) -> None:
        super().__init__()
        self.functions = functions
        self.seen: tuple[Tensor, Tensor] | None = None

    def gave(self, tensor: Tensor) -> bool:
        """Whether the last call gave this very tensor."""
        return self.seen is not None and self.seen[1] is tensor

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in self.functions:
            self.seen = (args[0] if args else (kwargs or {})["input"], result)
        return result


def log_probabilities(network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """The logarithm of what a network returns, ``(n, classes)``.

    Where its last step is a softmax that can be seen, the logarithm is taken of the softmax, exact
    however small a probability is. Elsewhere (TorchScript) it is that of the rounded number: no
    less than that of the smallest normal one, -87.3 in fp32, and without a gradient where a
    probability is rounded to 0 or to 1.

    Args:
        network: ``(n, c, h, w)`` to probabilities ``(n, classes)``.
        inputs: of the network.

    >>> round(log_probabilities(nn.Softmax(1), torch.tensor([[0.0, 200.0]]))[0, 0].item(), 3)
    -200.0
    """
    with Last(SOFTMAX) as last:
        probabilities: Tensor = network(inputs)
    if last.seen is not None and last.gave(probabilities):
        # As scalars do: where the network is sure, 1 - p is too small for fp32.
        logits = last.seen[0]
        precise = logits if logits.device.type == "mps" else logits.double()
        exact: Tensor = precise.log_softmax(1).to(probabilities.dtype)
        return exact
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def log_odds(network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """The log-odds of probabilities that stand each for itself, of any shape.

    Where the network's last step is a sigmoid that can be seen, what that was of, exact however
    near to 0 or 1 a probability is. Elsewhere that of the rounded number: at most 16.6 in fp32, and
    without a gradient where a probability is rounded to 0 or to 1.

    Args:
        network: ``(n, c, h, w)`` to probabilities.
        inputs: of the network.

    >>> log_odds(nn.Sigmoid(), torch.tensor([[-200.0, 3.0]])).tolist()
    [[-200.0, 3.0]]
    """
    with Last(SIGMOID) as last:
        probabilities: Tensor = network(inputs)
    odds: Tensor
    if last.seen is not None and last.gave(probabilities):
        odds = last.seen[0]
    else:
        odds = probabilities.logit(torch.finfo(probabilities.dtype).eps / 2)
    return odds


class LogProbabilities(nn.Module):
    """A network whose output is what `log_probabilities` or `log_odds` reads off another's."""

    def __init__(
        self,
        network: nn.Module,
        read: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor] = log_probabilities,
    ) -> None:
        super().__init__()
        self.network = network
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities, or log-odds, ``(n, classes)`` of the network's own input."""
        return self.read(self.network, images)


class Probabilities(nn.Module):
    """A network whose output is the softmax of another's, its exponential, or its sigmoid.

    Args:
        network: gives logits, or log-likelihoods.
        by: which of them.
    """

    def __init__(
        self, network: nn.Module, by: Literal["softmax", "exp", "sigmoid"] = "softmax"
    ) -> None:
        super().__init__()
        self.network = network
        self.by = by

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of the network's own input."""
        logits: Tensor = self.network(images)
        if self.by == "softmax":
            return logits.softmax(1)
        return logits.exp() if self.by == "exp" else logits.sigmoid()
