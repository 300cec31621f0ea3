"""The network of P4's CIFAR-10 experiments, as ``--arch cifar_cnn:CifarCnn``; and a small one."""

from collections import OrderedDict

from torch import nn


class CifarCnn(nn.Sequential):
    """Four convolutions, three dense layers (Papernot et al. 2016); 3x32x32 in, 10 logits out.

    P4 has "a stride of 3", which leaves nothing of 32x32 images: its code has filters of 3x3, with
    a stride of 1 and no padding. P4 has ReLU behind all layers, its code not between the dense
    ones: here all have it but the logits.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(3, channels, 3),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(channels, channels, 3),
                relu2=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv3=nn.Conv2d(channels, 2 * channels, 3),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(2 * channels, 2 * channels, 3),
                relu4=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc1=nn.Linear(2 * channels * 5 * 5, 256),
                relu5=nn.ReLU(),
                dropout1=nn.Dropout(0.5),
                fc2=nn.Linear(256, 256),
                relu6=nn.ReLU(),
                dropout2=nn.Dropout(0.5),
                fc3=nn.Linear(256, 10),
            )
        )


def small() -> nn.Module:
    """A quarter of its channels: a fifteenth of the multiplications."""
    return CifarCnn(16)
