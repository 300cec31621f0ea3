"""Train the classifier that the package carries, from the real Fashion-MNIST.

python train.py --data fashion-mnist:DIR --output fashion-mnist-cnn.safetensors
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from saliency_audit.assets.fashion_mnist_cnn import FashionMnistCnn
from saliency_audit.data import batches, open_data


def load(spec: str) -> tuple[Tensor, Tensor]:
    """All images ``(n, 1, 28, 28)`` in [0, 1] and labels ``(n,)`` of a data set."""
    parts = list(batches(open_data(spec, input_shape=(1, 28, 28)), batch_size=1000))
    return torch.cat([b.images for b in parts]), torch.cat([b.labels for b in parts])


def augment(images: Tensor, generator: torch.Generator, shift: int = 2) -> Tensor:
    """Each image mirrored with chance 1/2 and moved by up to ``shift`` pixels either way."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (shift,) * 4)[:, 0]
    top, left = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator)
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]][
        :, None
    ]


def train(
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> nn.Module:
    """Adam with decoupled weight decay under a one-cycle schedule; returns the model in eval."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = FashionMnistCnn().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    per_epoch = len(images) // batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, epochs=epochs, steps_per_epoch=per_epoch
    )
    started = time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(images), generator=generator)
        for chosen in order.split(batch_size)[:per_epoch]:
            pixels = augment(images[chosen], generator)
            loss = functional.cross_entropy(
                model(pixels.contiguous(memory_format=torch.channels_last)), labels[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {total / per_epoch:.4f}, {seconds:.0f} s")
    return model.to(memory_format=torch.contiguous_format).eval()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images whose largest logit is the label's."""
    with torch.no_grad():
        right = sum(
            int((model(x).argmax(1) == y).sum())
            for x, y in zip(images.split(500), labels.split(500), strict=True)
        )
    return right / len(labels)


def main() -> None:
    """Train, save, and print the accuracies that CARD.md states."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="fashion-mnist:DIR, with all four files")
    parser.add_argument("--output", type=Path, default=Path("fashion-mnist-cnn.safetensors"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    model = train(
        *load(f"{options.data}@train"),
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, options.output)
    print(f"10,000 test images: {accuracy(model, *load(options.data)):.4f}")
    print(f"1,000 bundled test images: {accuracy(model, *load('bundled:fashion-mnist')):.4f}")


if __name__ == "__main__":
    main()
