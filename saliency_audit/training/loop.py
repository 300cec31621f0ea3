"""The loop: batches in a fixed order, an objective, a step of the optimizer."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saliency_audit.catalogue.entries import Objective
from saliency_audit.data import ImageBatch, ImageData, in_order
from saliency_audit.errors import AuditError, InputError
from saliency_audit.models import Classifier, in_eval_mode, trainable
from saliency_audit.seeding import generators, seed_of
from saliency_audit.training.augment import flip_crop
from saliency_audit.training.optimise import optimizer, schedule
from saliency_audit.training.recipe import Recipe, check_recipe
from saliency_audit.training.step import Loss, Step

if TYPE_CHECKING:
    from accelerate import Accelerator

COLLAPSE = -1e6
"""Mean trace below which score matching has left the data (P0 App. E: 9 % accuracy)."""

ByName = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True)
class Trained:
    """One step that was done.

    Attributes:
        step: its number, from 1.
        steps: how many there will be.
        epoch: how often as many images as there are have gone through the model by now.
        values: "loss", its terms and what else the objective measured, "lr", "train_accuracy",
            "seconds" and "images_per_second" of this step.
        terms: which of them add up to the loss.
        state: gives what a checkpoint holds now; every process must call it.
        stop: whether any process was asked to stop.
        unreadable: images that could not be read and were left out, in all steps so far.
        keep: whether this step is worth a checkpoint.
    """

    step: int
    steps: int
    epoch: float
    values: Mapping[str, float]
    terms: tuple[str, ...]
    state: Callable[[], dict[str, Any]]
    stop: bool = False
    unreadable: int = 0
    keep: bool = False


class _Objective(nn.Module):
    """The objective as a module: all it computes is inside what several processes share."""

    def __init__(self, model: Classifier, function: Callable[..., Loss], **options: Any) -> None:
        super().__init__()
        self.model = model
        self.function = partial(function, **options)

    def forward(self, step: Step) -> Loss:
        return self.function(step)


def options_of(objective: Objective) -> dict[str, Any]:
    """The options of an objective and what they are unless they are given."""
    parameters = signature(objective.function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check_objective(
    model: Classifier, objective: Objective, options: Mapping[str, Any], classes: int
) -> None:
    """Try an objective on two grey images, so that what it refuses is refused before a training.

    Raises:
        InputError: an option that means nothing.
    """
    images = torch.full((2, *model.input_shape), 0.5, device=model.mean.device)
    step = Step(
        model,
        images,
        torch.arange(2, device=images.device) % classes,
        lambda purpose: generators(0, ["0", "1"], purpose, images.device),
        annotations=images[:, 0],
        targets=images,
    )
    with in_eval_mode(model):
        objective.function(step, **options)


def accelerator(device: torch.device, *, accumulate: int = 1) -> "Accelerator":
    """The processes that a launcher started, or this one alone."""
    from accelerate import Accelerator
    from accelerate.utils import GradientAccumulationPlugin

    # Said outright: a launcher's settings must not change what is computed.
    return Accelerator(
        cpu=device.type == "cpu",
        device_placement=False,
        mixed_precision="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=accumulate),
    )


@dataclass(frozen=True)
class Alone:
    """One process by itself, whatever a launcher started: what `train` asks of an Accelerator.

    Attributes:
        parts: that a step is split into.
    """

    parts: int = 1
    process_index: int = 0
    num_processes: int = 1

    def prepare_model(self, model: Any) -> Any:
        """The same."""
        return model

    prepare_optimizer = gather = prepare_model

    def reduce(self, value: Tensor, how: str) -> Tensor:
        """The same: the mean over one process."""
        del how
        return value

    def accumulate(self, model: Any) -> AbstractContextManager[None]:
        """Nothing to wait for."""
        del model
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Gradients of a part's share of the loss."""
        (loss / self.parts).backward()  # type: ignore[no-untyped-call]


def train(
    model: Classifier,
    data: ImageData,
    objective: Objective,
    *,
    recipe: Recipe,
    options: Mapping[str, Any] | None = None,
    targets: ByName | None = None,
    annotations: ByName | None = None,
    seed: int = 0,
    workers: int = 0,
    state: Mapping[str, Any] | None = None,
    together: "Accelerator | None" = None,
    stopping: Callable[[], bool] = lambda: False,
    change: Callable[[Sequence[str], Tensor], Tensor] | None = None,
) -> Iterator[Trained]:
    """Train a classifier in place, one step at a time.

    Which images a step has, how they are augmented and what is drawn for each of them depends on
    the seed and the number of the step alone: not on the number of processes, nor on where a
    resumed training starts.

    Args:
        model: its weights change; those that ask for no gradient stay. Its modes are as before
            once the loop is left.
        data: labelled images.
        objective: of ``OBJECTIVES``.
        recipe: how.
        options: of the objective.
        targets: gives the teacher's maps of images by name, ``(n, c, h, w)``.
        annotations: gives what people marked, by name, ``(n, h, w)``; NaN where there is none.
        seed: of all draws.
        workers: processes that read images.
        state: of a checkpoint, to go on from; it is loaded into the model.
        together: the processes; None means this one alone.
        stopping: asked after each step whether to stop.
        change: ``(names, images) -> images``, what the model is shown in place of images; before
            they are augmented.

    Yields:
        One `Trained` after each step.

    Raises:
        InputError: an option that means nothing.
        AuditError: the loss is not finite, or score matching has collapsed; the weights are not
            changed by that step (running statistics may be).
    """
    trainable(model)
    options = {**options_of(objective), **(options or {})}
    replay = int(options.get("replay", 1))
    device = model.mean.device
    together = together or accelerator(device, accumulate=recipe.accumulate)
    rank, world = together.process_index, together.num_processes
    check_recipe(recipe, len(data), processes=world, replay=replay)
    if options.get("reduction") == "minibatch" and world * recipe.accumulate > 1:
        raise InputError(
            f"--reduction minibatch is one norm over a whole step, and {world} processes of "
            f"--accumulate {recipe.accumulate} each see a part; give --reduction per-sample"
        )
    trained = [weight for weight in model.network.parameters() if weight.requires_grad]
    if not trained:
        raise InputError(f"all weights of {model.name} are frozen; nothing can be trained")
    steps = recipe.steps(len(data))
    optim = optimizer(
        trained,
        name=recipe.optimizer,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    plan = schedule(optim, name=recipe.schedule, steps=steps)
    memory: dict[str, Tensor] = {}
    done = unreadable = 0
    if state is not None:
        done, unreadable = int(state["step"]), int(state["unreadable"])
        model.network.load_state_dict(state["state_dict"])
        optim.load_state_dict(state["optimizer"])
        plan.load_state_dict(state["schedule"])
        memory = {
            name: kept.chunk(world)[rank].to(device) for name, kept in state["memory"].items()
        }

    def snapshot(number: int, terms: tuple[str, ...], unreadable: int) -> dict[str, Any]:
        # Every process has as many rows, though an image of its own could not be read.
        share = recipe.batch_size // world
        kept = {
            name: together.gather(torch.cat([t, t.new_zeros(share - len(t), *t.shape[1:])])).cpu()
            for name, t in memory.items()
        }
        return {
            "state_dict": {n: t.detach().cpu() for n, t in model.network.state_dict().items()},
            "activation": model.activation and list(model.activation),
            "optimizer": optim.state_dict(),
            "schedule": plan.state_dict(),
            "memory": kept,
            "step": number,
            "terms": list(terms),
            "unreadable": unreadable,
        }

    module = together.prepare_model(_Objective(model, objective.function, **options))
    updates = together.prepare_optimizer(optim)
    order = _order(
        len(data),
        recipe,
        seed=seed,
        batches=range(done // replay, -(-steps // replay)),
        share=(rank, world),
    )
    stream = in_order(data, order, workers=workers, device=device)
    # Sets no mode that lasts: it puts back those of now once the loop is left.
    with in_eval_mode(model):
        parts: list[ImageBatch] = []
        one_mode: bool | None = None
        for number in range(done, steps):
            began = time.monotonic()
            if number % replay == 0 or not parts:
                parts = [next(stream) for _ in range(recipe.accumulate)]
                if change is not None:
                    parts = [replace(b, images=change(b.names, b.images)) for b in parts]
            counts = _counts(parts, together)
            _into_training(model, freeze_bn=recipe.freeze_bn)
            if one_mode is None:
                one_mode = _one_mode(model, parts[0].images)
            losses, right = [], 0.0
            for index, (batch, count) in enumerate(zip(parts, counts, strict=True)):
                step = _step(
                    model,
                    batch,
                    recipe,
                    memory,
                    targets,
                    annotations,
                    one_mode,
                    (seed, number),
                    replay,
                )
                with together.accumulate(module):
                    with _seeded(device, seed, number, index, rank):
                        loss: Loss = module(step)
                    together.backward(torch.stack(list(loss.terms.values())).sum() * count)
                    if loss.after is not None:
                        loss.after()
                losses.append(loss)
                hits = float((loss.logits.argmax(1) == step.labels).double().mean())
                right += hits * count / len(parts)
            lost = sum(len(batch.failures) for batch in parts)
            values, stop, lost = _averaged(losses, counts, right, stopping(), lost, together)
            unreadable += lost
            terms = tuple(losses[0].terms)
            _refuse_divergence(values, terms, number + 1, recipe, options)
            values["lr"] = float(optim.param_groups[0]["lr"])
            updates.step()
            updates.zero_grad()
            plan.step()
            seconds = time.monotonic() - began
            values |= {"seconds": seconds, "images_per_second": recipe.batch_size / seconds}
            epoch = (number + 1) * recipe.batch_size / len(data)
            yield Trained(
                number + 1,
                steps,
                epoch,
                values,
                terms,
                partial(snapshot, number + 1, terms, unreadable),
                stop,
                unreadable,
            )


def _order(
    images: int, recipe: Recipe, *, seed: int, batches: range, share: tuple[int, int]
) -> Iterator[list[int]]:
    """Positions of the images of each part of each batch that this process takes."""
    rank, world = share
    per_epoch = images // recipe.batch_size
    order, of = torch.empty(0), -1
    for batch in batches:
        if batch // per_epoch != of:
            of = batch // per_epoch
            generator = torch.Generator().manual_seed(seed_of(seed, "order", of))
            order = torch.randperm(images, generator=generator)
        start = batch % per_epoch * recipe.batch_size
        own = order[start : start + recipe.batch_size].chunk(world)[rank]
        yield from (part.tolist() for part in own.chunk(recipe.accumulate))


def _step(
    model: Classifier,
    batch: ImageBatch,
    recipe: Recipe,
    memory: dict[str, Tensor],
    targets: ByName | None,
    annotations: ByName | None,
    one_mode: bool,
    now: tuple[int, int],
    replay: int,
) -> Step:
    """The batch as the objective sees it, augmented together with what belongs to its images."""
    seed, number = now
    device = batch.images.device

    def drawn(purpose: str) -> list[torch.Generator]:
        return generators(seed, batch.names, f"{purpose}|{number}", device)

    beside = {
        "targets": targets and targets(batch.names).to(device),
        "annotations": annotations
        and _within_one(annotations(batch.names).nan_to_num()).to(device),
    }
    images = batch.images
    if recipe.augment == "flip-crop":
        given = {name: value for name, value in beside.items() if value is not None}
        images, *moved = flip_crop(
            # A batch that is shown again is shown as it was.
            generators(seed, batch.names, f"augment|{number // replay}", device),
            images,
            *given.values(),
        )
        beside |= dict(zip(given, moved, strict=True))
    return Step(model, images, batch.labels, drawn, one_mode=one_mode, memory=memory, **beside)


def _within_one(marked: Tensor) -> Tensor:
    """Annotations of any unit, each image's in [0, 1]: 255 means what 1 means.

    What is alike everywhere marks nothing and is 0, as it would have an edge once it is moved.
    """
    most = marked.amax((1, 2), keepdim=True)
    return marked / most.clamp_min(1) * (most > marked.amin((1, 2), keepdim=True))


def _into_training(model: Classifier, *, freeze_bn: bool) -> None:
    model.train()
    for module in model.modules() if freeze_bn else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _one_mode(model: Classifier, images: Tensor) -> bool:
    """Whether the network, in the modes it is trained in, does what it does in eval mode.

    Asked of the network itself, as it may do anything by its mode; buffers are put back. What
    draws random numbers has two modes, though it may seldom do something with them.
    """
    buffers = {name: buffer.clone() for name, buffer in model.network.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng(_cuda(images.device)):
        before = _random_state(images.device)
        training: Any = model(images)
        drew = not torch.equal(before, _random_state(images.device))
        if not isinstance(training, Tensor):
            raise InputError(
                f"{model.name} returns a {type(training).__name__} in training mode; give an "
                "architecture without auxiliary outputs"
            )
        with in_eval_mode(model):
            same = not drew and torch.equal(training, model(images))
    for name, buffer in model.network.named_buffers():
        buffer.copy_(buffers[name])
    return same


@contextmanager
def _seeded(device: torch.device, *numbers: int) -> Iterator[None]:
    """Inside, torch's own random numbers (dropout's) depend on these numbers alone."""
    with torch.random.fork_rng(_cuda(device)):
        torch.manual_seed(seed_of(*numbers))
        yield


def _random_state(device: torch.device) -> Tensor:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def _counts(parts: Sequence[ImageBatch], together: "Accelerator") -> list[float]:
    """What each part's mean counts in that of the step: 1 where every image could be read.

    Raises:
        AuditError: on all processes alike, where a part of any has no image at all.
    """
    device = parts[0].images.device
    own = torch.tensor([len(batch.names) for batch in parts], device=device)
    every: Tensor = together.gather(own)
    if not every.all():
        failures = [failure for batch in parts for failure in batch.failures]
        why = f"; {failures[0].name}: {failures[0].message}" if failures else " by another process"
        raise AuditError(f"no image of a batch can be read{why}")
    counts: list[float] = (own * len(every) / every.sum()).tolist()
    return counts


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _averaged(
    losses: Sequence[Loss],
    counts: Sequence[float],
    right: float,
    stopping: bool,
    lost: int,
    together: "Accelerator",
) -> tuple[dict[str, float], bool, int]:
    """Means over parts and processes; whether any is to stop, and images lost by all of them."""
    first = losses[0]
    terms = {name: [loss.terms[name].detach() for loss in losses] for name in first.terms}
    seen = {name: [loss.seen[name].detach() for loss in losses] for name in first.seen}
    assert not set(terms) & set(seen), "a term and a measurement of one name"
    table = torch.stack([torch.stack(each).double() for each in (terms | seen).values()])
    device = table.device
    means = (table * torch.tensor(counts, device=device).double()).mean(1)
    means = torch.cat([means, torch.tensor([right, float(stopping), lost], device=device).double()])
    means = together.reduce(means, "mean")
    *measured, accuracy, stop, lost_each = means.tolist()
    values = dict(zip(terms | seen, measured, strict=True))
    total = sum(values[name] for name in terms)
    everywhere = round(lost_each * together.num_processes)
    return {"loss": total, **values, "train_accuracy": accuracy}, stop > 0, everywhere


def _refuse_divergence(
    values: Mapping[str, float],
    terms: Sequence[str],
    step: int,
    recipe: Recipe,
    options: Mapping[str, Any],
) -> None:
    weight = f" or --weight (now {options['weight']:g})" if "weight" in options else ""
    lower = f"lower --lr (now {recipe.lr:g}){weight}"
    if not abs(values["loss"]) < float("inf"):
        seen = ", ".join(f"{name} {values[name]:g}" for name in terms)
        raise AuditError(
            f"training diverged at step {step}: the loss is not finite ({seen}); {lower}"
        )
    if values.get("trace", 0.0) < COLLAPSE and "mu" in options:
        raise AuditError(
            f"score matching collapsed at step {step}: the mean trace is {values['trace']:.3g}, "
            f"below {COLLAPSE:.0e}; raise --mu (now {options['mu']:g}), or {lower}"
        )
