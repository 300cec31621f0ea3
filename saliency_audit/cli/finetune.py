"""``saliency-audit finetune``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from saliency_audit.cli import options as o
from saliency_audit.cli.finetune_plan import Request
from saliency_audit.cli.finetune_run import run

OBJECTIVE, RECIPE, TEACHER, AUDIT = (
    "Objective",
    "Training",
    "Teacher and annotations",
    "Audit before and after",
)


class Optimizer(StrEnum):
    """How weights follow gradients."""

    SGD = "sgd"
    ADAM = "adam"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """How the learning rate changes."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEP = "step"


class Augment(StrEnum):
    """How training images are varied."""

    NONE = "none"
    FLIP_CROP = "flip-crop"


class Surrogate(StrEnum):
    """Activation that is trained."""

    AUTO = "auto"
    NONE = "none"
    SOFTPLUS = "softplus"


def number(help: str, panel: str) -> Any:
    """An option that takes a number or a fraction."""
    return typer.Option(
        parser=o.fraction, metavar="NUMBER", help=help, rich_help_panel=panel, show_default=False
    )


def finetune(
    model: o.Model = None,
    *,
    objective: Annotated[
        str | None,
        typer.Option(
            help="What to train for; see `saliency-audit list objectives`.",
            rich_help_panel=OBJECTIVE,
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Objective and recipe as in a paper; see `saliency-audit list objectives`.",
            rich_help_panel=OBJECTIVE,
            show_default=False,
        ),
    ] = None,
    weight: Annotated[
        float | None, number("Of the regulariser; default by objective.", OBJECTIVE)
    ] = None,
    eps: Annotated[
        float | None,
        number("pgd, adversarial, harmonise: budget, pixel values such as 8/255.", OBJECTIVE),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="pgd (default 7), adversarial (1): of the search.", rich_help_panel=OBJECTIVE
        ),
    ] = None,
    step_size: Annotated[
        float | None, number("pgd, adversarial: of the search, pixel values.", OBJECTIVE)
    ] = None,
    norm: Annotated[
        o.NormName | None,
        typer.Option(help="pgd: of the budget, default linf.", rich_help_panel=OBJECTIVE),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="pgd: xent (default) or cw.", rich_help_panel=OBJECTIVE),
    ] = None,
    kappa: Annotated[float | None, number("pgd: cap of cw.", OBJECTIVE)] = None,
    random_start: Annotated[
        bool | None,
        typer.Option(
            "--random-start/--no-random-start",
            help="pgd: begin at a random point (default) or at the image.",
            rich_help_panel=OBJECTIVE,
            show_default=False,
        ),
    ] = None,
    attack_momentum: Annotated[
        float | None, number("pgd, adversarial: of MI-FGSM; default 0.", OBJECTIVE)
    ] = None,
    penalty: Annotated[
        str | None,
        typer.Option(
            help="adversarial: norm of the map, l1, l2 (default), linf, group, elastic, weighted.",
            rich_help_panel=OBJECTIVE,
        ),
    ] = None,
    eps2: Annotated[
        float | None, number("adversarial: second weight of elastic; default 0.05.", OBJECTIVE)
    ] = None,
    group: Annotated[
        int | None,
        typer.Option(
            help="adversarial: side of group's squares, pixels; default 14.",
            rich_help_panel=OBJECTIVE,
        ),
    ] = None,
    joint_channels: Annotated[
        bool | None,
        typer.Option(
            "--joint-channels",
            help="adversarial: colours of a square are one group.",
            rich_help_panel=OBJECTIVE,
            show_default=False,
        ),
    ] = None,
    replay: Annotated[
        int | None,
        typer.Option(
            help="adversarial: free training, so many steps with each batch; default 1.",
            rich_help_panel=OBJECTIVE,
        ),
    ] = None,
    clamp: Annotated[
        bool | None,
        typer.Option(
            "--clamp",
            help="adversarial: cut moved images to [0,1].",
            rich_help_panel=OBJECTIVE,
            show_default=False,
        ),
    ] = None,
    mu: Annotated[
        float | None, number("score-matching: of the squared trace; default 1e-3.", OBJECTIVE)
    ] = None,
    sigma: Annotated[
        float | None,
        number("score objectives (default 0.01), noise (0.1): of the noise.", OBJECTIVE),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(
            help="score objectives: noisy copies of an image; default 1.", rich_help_panel=OBJECTIVE
        ),
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(
            help="score objectives: taylor (default) or hutchinson.", rich_help_panel=OBJECTIVE
        ),
    ] = None,
    antithetic: Annotated[
        bool | None,
        typer.Option(
            "--antithetic",
            help="score objectives: pairs of opposite noise.",
            rich_help_panel=OBJECTIVE,
            show_default=False,
        ),
    ] = None,
    tau: Annotated[
        float | None, number("anti-score-matching: cap of the trace; default 1000.", OBJECTIVE)
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            help="gradient-norm: of the label's logit (default) or of the loss.",
            rich_help_panel=OBJECTIVE,
        ),
    ] = None,
    reduction: Annotated[
        str | None,
        typer.Option(
            help="gradient-norm, jacobian, interpretation: squared, per-sample, minibatch.",
            rich_help_panel=OBJECTIVE,
        ),
    ] = None,
    projections: Annotated[
        int | None,
        typer.Option(
            help="jacobian: random directions of an image, default 1; 0 is exact.",
            rich_help_panel=OBJECTIVE,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="interpretation: model whose maps are to be had; default the model before "
            "training.",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    teacher_samples: Annotated[
        int | None,
        typer.Option(
            help="interpretation: noisy copies of a map, default 50.", rich_help_panel=TEACHER
        ),
    ] = None,
    teacher_sigma: Annotated[
        float | None, number("interpretation: their noise, default 0.15.", TEACHER)
    ] = None,
    threshold: Annotated[
        float | None,
        number(
            "interpretation: keep what is so many deviations above the mean, default 1.", TEACHER
        ),
    ] = None,
    permute: Annotated[
        bool,
        typer.Option(
            "--permute", help="interpretation: the control, maps shuffled.", rich_help_panel=TEACHER
        ),
    ] = False,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="harmonise, adversarial --penalty weighted: what people marked on training "
            "images, a folder of maps or a CSV of boxes.",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Backward passes over the training images; default 1.", rich_help_panel=RECIPE
        ),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="End after so many steps.", rich_help_panel=RECIPE)
    ] = None,
    train_batch_size: Annotated[
        int | None,
        typer.Option(
            help="Images of a step, over all processes; default 64.", rich_help_panel=RECIPE
        ),
    ] = None,
    accumulate: Annotated[
        int,
        typer.Option(
            help="Parts of a step that go through the model one by one.", rich_help_panel=RECIPE
        ),
    ] = 1,
    lr: Annotated[float | None, number("Learning rate; default 0.01.", RECIPE)] = None,
    optimizer: Annotated[
        Optimizer | None, typer.Option(help="Default sgd.", rich_help_panel=RECIPE)
    ] = None,
    momentum: Annotated[float | None, number("Of sgd; default 0.9.", RECIPE)] = None,
    weight_decay: Annotated[float | None, number("Default 0.", RECIPE)] = None,
    schedule: Annotated[
        Schedule | None,
        typer.Option(
            help="Of the learning rate: cosine (default), constant, step (a tenth at 1/2 and 3/4).",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    augment: Annotated[
        Augment | None,
        typer.Option(
            help="none (default), or mirrored and moved by up to 4 pixels.", rich_help_panel=RECIPE
        ),
    ] = None,
    freeze_bn: Annotated[
        bool | None,
        typer.Option(
            "--freeze-bn/--train-bn",
            help="Use the statistics of batch normalisation as they are, so that the loss and the "
            "regulariser are of one function; default unless --from-scratch.",
            rich_help_panel=RECIPE,
            show_default=False,
        ),
    ] = None,
    surrogate: Annotated[
        Surrogate | None,
        typer.Option(
            help="softplus in place of ReLU, for good; auto (default) does so for the score "
            "objectives, which mean nothing with ReLU.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    beta: Annotated[float | None, number("Sharpness of softplus; default 10.", RECIPE)] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Start from random weights; with --arch and without MODEL, of that architecture.",
            rich_help_panel=RECIPE,
        ),
    ] = False,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between checkpoints and accuracies; default an epoch.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    min_accuracy: Annotated[
        float,
        typer.Option(
            parser=o.fraction,
            metavar="NUMBER",
            help="Stop, with the last checkpoint, if the validation accuracy, 0 to 1, falls below.",
            rich_help_panel=RECIPE,
        ),
    ] = 0.0,
    data: Annotated[
        str | None,
        typer.Option(
            help="Training images: folder of class folders, manifest.csv (path,label), "
            "mnist:DIR@train, ...; without it, 6,000 bundled ones of Fashion-MNIST.",
            rich_help_panel=o.DATA,
            show_default=False,
        ),
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(
            help="Images to validate and audit on; default the test images that belong to "
            "--data, or a tenth of it that is not trained on.",
            rich_help_panel=o.DATA,
            show_default=False,
        ),
    ] = None,
    max_train: Annotated[
        int | None,
        typer.Option(help="Most training images, drawn with the seed.", rich_help_panel=o.DATA),
    ] = None,
    max_val: Annotated[
        int | None,
        typer.Option(help="Most validation images, drawn with the seed.", rich_help_panel=o.DATA),
    ] = None,
    classes: o.Classes = None,
    resize: o.Resize = None,
    max_samples: Annotated[
        int,
        typer.Option(
            help="Most validation images whose maps are audited, drawn with the seed.",
            rich_help_panel=AUDIT,
        ),
    ] = 32,
    saliency: Annotated[
        list[str] | None,
        typer.Option(
            help="Audited saliency method, repeatable; default gradient.",
            rich_help_panel=AUDIT,
            show_default=False,
        ),
    ] = None,
    scalar: o.ScalarName = "logit",
    target: o.TargetClass = o.Target.PREDICTED,
    audit_eps: Annotated[
        float | None,
        number(
            "Budget of robust-accuracy and of the attack on maps; default 2/255, l2 0.5.", AUDIT
        ),
    ] = None,
    audit_norm: Annotated[
        o.NormName, typer.Option(help="Of that budget.", rich_help_panel=AUDIT)
    ] = o.NormName.LINF,
    against: Annotated[
        str | None,
        typer.Option(
            help="Model to compare with; default MODEL before training.", rich_help_panel=AUDIT
        ),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(
            help="stability: a second training, of another seed; without it, the maps before.",
            rich_help_panel=AUDIT,
        ),
    ] = None,
    arch: o.Arch = None,
    size: o.Size = None,
    channels: o.Channels = None,
    mean: o.Mean = None,
    std: o.Std = None,
    layer: o.Layer = None,
    trust_pickle: o.TrustPickle = False,
    device: o.Device = "auto",
    precision: o.PrecisionName = o.Precision.FP32,
    batch_size: o.BatchSize = "auto",
    seed: o.Seed = 0,
    workers: o.Workers = 0,
    output_dir: o.OutputDir = None,
    resume: o.Resume = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Train a model whose gradients can be trusted more, and audit it before and after.

    Example: saliency-audit finetune --objective gradient-norm --max-steps 20 --max-samples 8
    """
    del debug  # main() looks for it itself.
    run(
        Request(
            model=model,
            objective=objective,
            preset=preset,
            given={
                "--weight": ("weight", weight),
                "--eps": ("eps", eps),
                "--steps": ("steps", steps),
                "--step-size": ("step_size", step_size),
                "--norm": ("norm", _text(norm)),
                "--loss": ("loss", loss),
                "--kappa": ("kappa", kappa),
                "--random-start": ("random_start", random_start),
                "--attack-momentum": ("attack_momentum", attack_momentum),
                "--penalty": ("penalty", penalty),
                "--eps2": ("eps2", eps2),
                "--group": ("group", group),
                "--joint-channels": ("joint_channels", joint_channels),
                "--replay": ("replay", replay),
                "--clamp": ("clamp", clamp),
                "--mu": ("mu", mu),
                "--sigma": ("sigma", sigma),
                "--draws": ("draws", draws),
                "--trace": ("trace", trace),
                "--antithetic": ("antithetic", antithetic),
                "--tau": ("tau", tau),
                "--of": ("of", of),
                "--reduction": ("reduction", reduction),
                "--projections": ("projections", projections),
            },
            teacher=teacher,
            teacher_given={
                "--teacher-samples": ("samples", teacher_samples),
                "--teacher-sigma": ("sigma", teacher_sigma),
                "--threshold": ("threshold", threshold),
                "--permute": ("permute", permute or None),
            },
            annotations=annotations,
            recipe_given={
                "epochs": epochs,
                "max_steps": max_steps,
                "batch_size": train_batch_size,
                "accumulate": accumulate,
                "lr": lr,
                "optimizer": _text(optimizer),
                "momentum": momentum,
                "weight_decay": weight_decay,
                "schedule": _text(schedule),
                "augment": _text(augment),
                "freeze_bn": freeze_bn,
                "surrogate": _text(surrogate),
                "beta": beta,
            },
            from_scratch=from_scratch,
            checkpoint_every=checkpoint_every,
            min_accuracy=min_accuracy,
            data=data,
            val=val,
            max_train=max_train,
            max_val=max_val,
            classes=classes,
            resize=resize,
            max_samples=max_samples,
            saliency=tuple(saliency or ("gradient",)),
            scalar=scalar,
            target=str(target),
            audit_eps=audit_eps,
            audit_norm=str(audit_norm),
            against=against,
            other=other,
            arch=arch,
            size=size,
            channels=channels,
            mean=mean,
            std=std,
            layer=layer,
            trust_pickle=trust_pickle,
            device=device,
            precision=str(precision),
            batch_size=batch_size,
            seed=seed,
            workers=workers,
            output_dir=output_dir or Path("saliency-audit-report/finetune"),
            resume=resume,
            quiet=quiet,
        )
    )


def _text(value: StrEnum | None) -> str | None:
    return None if value is None else str(value)
