"""The networks of P3's experiments, as ``--arch networks:SmallCnn`` and so on."""

from collections import OrderedDict

from torch import nn


class SmallCnn(nn.Sequential):
    """P3's network for Fashion-MNIST made small; 1x28x28 images in, 10 logits out.

    P3's has 64 and 32 channels, 1,024 hidden units, and pools once, behind both convolutions. Here
    each convolution takes steps of two, and there are 16 and 32 channels and 128 hidden units.
    """

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, 16, 5, stride=2, padding=2),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(16, 32, 5, stride=2, padding=2),
                relu2=nn.ReLU(),
                flatten=nn.Flatten(),
                fc1=nn.Linear(32 * 7 * 7, 128),
                relu3=nn.ReLU(),
                fc2=nn.Linear(128, 10),
            )
        )


class CifarCnn(nn.Sequential):
    """P3's network for CIFAR-10 (its Table 3): 3x32x32 images in, 10 logits out."""

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(3, 32, 3, padding=1),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(32, 32, 3, padding=1),
                relu2=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv3=nn.Conv2d(32, 64, 3, padding=1),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(64, 64, 3, padding=1),
                relu4=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc1=nn.Linear(64 * 8 * 8, 256),
                relu5=nn.ReLU(),
                fc2=nn.Linear(256, 10),
            )
        )


def p3_cnn() -> nn.Module:
    """Two convolutions of 64 and 32 filters, 1,024 units: 28 x 28 grey to 10 logits."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(64, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 14 * 14, 1024),
        nn.ReLU(),
        nn.Linear(1024, 10),
    )


def small_pooled_cnn() -> nn.Module:
    """A twentieth of its multiplications: 16 and 32 filters, each pooled, 128 units."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


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
