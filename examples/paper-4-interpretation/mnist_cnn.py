"""The network of P4's MNIST experiments, as ``--arch mnist_cnn:MnistCnn``."""

from collections import OrderedDict

from torch import nn


class MnistCnn(nn.Sequential):
    """Two convolutions and two dense layers; 1x28x28 images in, 10 logits out."""

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(1, 32, 5, padding=2),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(32, 64, 5, padding=2),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc1=nn.Linear(64 * 7 * 7, 1024),
                relu3=nn.ReLU(),
                dropout=nn.Dropout(0.5),
                fc2=nn.Linear(1024, 10),
            )
        )
