"""The network of P3's toy experiment, as ``--arch toy_mlp:ToyMlp``."""

from torch import nn


class Glorot(nn.Linear):
    """A dense layer that starts as P3's do: weights uniform after Glorot, biases 0."""

    def reset_parameters(self) -> None:
        """Draw the weights."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)


class ToyMlp(nn.Sequential):
    """Points, as 1x1x2 images, in; 2 logits out."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), Glorot(2, 128), nn.ReLU(), Glorot(128, 2))
