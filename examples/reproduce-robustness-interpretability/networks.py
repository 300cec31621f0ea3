"""The networks of this reproduction, as ``--arch networks:SmallCnn`` and ``networks:CifarCnn``."""

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
