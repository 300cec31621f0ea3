"""The commands that are recorded: names, and what is typed, one after the other."""

import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

COMMANDS = ("check", "fool", "attack", "evaluate", "finetune", "gate", "list")
NOUNS = ("", "saliency", "tricks", "attacks", "presets", "metrics", "objectives")

OWN = "--arch my_package.models:build --channels 1 --size 28 --mean 0.13 --std 0.31"
PLAIN = "--arch my_package.models:build --channels 1 --size 28 --mean 0 --std 1"
NET = "--arch small_net:build --channels 1 --size 28 --mean 0.3 --std 0.4"
TRAIN = "--data training --val validation"
FEW = "--max-steps 3 --max-samples 3 --train-batch-size 20"
CHEAP = "--samples 3 --ig-steps 4"
PARTIAL = "saliency-audit-report/*/partial/*.csv"
CHECKPOINT = "saliency-audit-report/finetune/checkpoint/last.pt"


@dataclass(frozen=True)
class Step:
    """One command line.

    Attributes:
        arguments: after ``saliency-audit``.
        until: pattern of a file; once there is one, the process is sent ``signal``.
        signal: what is sent.
        processes: more than one are started by torchrun.
        environment: further variables.
    """

    arguments: tuple[str, ...]
    until: str = ""
    signal: int = 0
    processes: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Command lines in one working folder.

    Attributes:
        steps: one after the other.
        stopped: the first one ends at a moment that is never the same.
    """

    steps: tuple[Step, ...]
    stopped: bool = False


def typed(line: str, **how: object) -> Step:
    """A step as it would be typed."""
    return Step(tuple(shlex.split(line)), **how)  # type: ignore[arg-type]


def lines(*typed_lines: str) -> Case:
    """A case of plain command lines."""
    return Case(tuple(typed(line) for line in typed_lines))


def killed(command: str, until: str = PARTIAL) -> Case:
    """A command that is killed, goes on with ``--resume``, and is asked again when it is done."""
    again = typed(f"{command} --resume")
    return Case((typed(command, until=until, signal=signal.SIGKILL), again, again), True)


def stopped(command: str, until: str = PARTIAL) -> Case:
    """A command that Ctrl-C ends and that goes on with ``--resume``."""
    first = typed(command, until=until, signal=signal.SIGINT)
    return Case((first, typed(f"{command} --resume")), True)


SURFACE = {
    "help": lines("", "--version", "--help", *(f"{name} --help" for name in COMMANDS)),
    "list": lines(*(f"list {noun}" for noun in NOUNS)),
}

FOOL = {
    "fool-gate": lines(
        "fool --saliency gradient --saliency smoothgrad --saliency gradcam --max-samples 3 "
        "--samples 10",
        "gate saliency-audit-report/fool/logit-shift.pt2 --mean 0 --std 1 --max-samples 10 "
        "--ig-steps 8",
    ),
    "fool-picture": lines(
        "fool weights.safetensors --trick logit-shift --shift cancel --picture mine.png "
        "--strength 5 --saliency gradient --saliency lrp --scalar logit --scalar margin "
        f"--target label --data photos/labels.csv --max-samples 5 --fail-on disturbed {PLAIN}"
    ),
    "fool-forms": lines(
        "fool model.pt --channels 1 --size 28 --trick loss-sine --form dummy-class --eps 0.002 "
        "--data photos --max-samples 4 --saliency gradient --scalar loss --output-dir out",
        "fool --trick logit-shift --trick loss-sine --shift head --form wrapper "
        "--saliency gradcam --scalar logit --max-samples 4 --seed 5 --fail-on forged --quiet",
    ),
    "fool-killed": killed(
        "fool --trick logit-shift --saliency gradient --scalar logit --max-samples 40 "
        "--batch-size 2"
    ),
}

ATTACK = {
    "attack-readme": lines(
        "attack --saliency gradient --saliency smoothgrad --saliency gradcam --measure gradcam "
        "--samples 4 --max-samples 4 --steps 4"
    ),
    "attack-kinds": lines(
        "attack --attack topk --attack mass-center --attack target-region --attack structured "
        "--attack pgd --eps 8/255 --eps 0.02 --target-map mine.png --saliency gradient "
        "--measure gradient --measure sobel --steps 3 --search sign --momentum 0.5 --k 30 "
        "--loss cw --no-random-start --max-samples 4 --fail-on fragile",
        "evaluate --data saliency-audit-report/attack/images/manifest.csv --metric accuracy "
        "--metric sparsity-hoyer --saliency gradient",
    ),
    "attack-presets": lines(
        "attack --preset ghorbani --steps 2 --ig-steps 2 --max-samples 2 --k 20 "
        "--measure gradient --output-dir ghorbani",
        "attack weights.safetensors --preset moreau-l2 --steps 2 --samples 2 --max-samples 2 "
        f"--data validation --classes classes.txt --measure gradient --quiet {PLAIN}",
    ),
    "attack-stopped": stopped(
        "attack --saliency gradient --measure gradient --steps 2 --max-samples 24 --batch-size 2"
    ),
}

EVALUATE = {
    "evaluate-readme": lines(
        f"evaluate --max-samples 9 {CHEAP} --draws 1 --stages 3 --fail-on not-distinguishable"
    ),
    "evaluate-curves": lines(
        "evaluate --metric deletion --metric preservation --metric insertion "
        "--metric deletion-gap --metric discriminative --metric aopc "
        "--metric density-perturbation --metric retrieval --metric class-evidence "
        "--saliency gradient --saliency gradcam --layer features.9 --base gradient "
        "--judge model.pt --steps 6 "
        "--fill 0.5 --points 4 --regions 3 --regions 5 --unit pixel --explain-class 2 "
        "--data photos/labels.csv --scalar log-prob --target label"
    ),
    "evaluate-models": lines(
        "evaluate weights.safetensors --compare second.safetensors --compare model.pt "
        "--other second.safetensors --metric accuracy --metric robust-accuracy "
        "--metric gradient-norm-target --metric gradient-norm-others --metric density-profile "
        "--metric scalar-agreement --metric stability --metric sparsity-gini "
        "--metric sparsity-hoyer --metric max-sensitivity --metric infidelity "
        "--saliency gradient --eps 4/255 --norm linf --attack-steps 3 --restarts 2 --k 0.3 "
        f"--radius 0.05 --sigma 0.2 --perturbations 3 --max-samples 9 {PLAIN}"
    ),
    "evaluate-sanity": lines(
        "evaluate model.pt --channels 1 --metric sanity-cascade --metric sanity-independent "
        "--randomise shuffle --draws 1 --stages 3 --saliency gradient --saliency random "
        "--max-samples 8 --fail-on worse"
    ),
    "evaluate-presets": lines(
        "evaluate --preset p0 --saliency gradient --max-samples 4 --precision bf16 --output-dir p0",
        "evaluate --preset adebayo --metric sanity-cascade --draws 1 --saliency gradient "
        "--max-samples 3",
    ),
    "evaluate-maps": lines(
        "evaluate --data photos/labels.csv --maps maps --annotations boxes.csv "
        "--metric pointing-game --metric gaze-overlap --metric deletion --top 0.1 --top 0.2 "
        "--saliency gradient --workers 1",
        "evaluate --data training --annotations marked --metric pointing-game "
        "--saliency gradient --max-samples 10 --resize 28 --output-dir marked-report",
    ),
    "evaluate-explain": lines(
        "evaluate --explain mine.py:explain --metric deletion --metric sparsity-gini "
        "--saliency gradient --data broken --max-samples 9",
        "evaluate --explain mine.py:flat --metric deletion --saliency gradient --max-samples 8 "
        "--steps 4 --fail-on worse --output-dir flat",
    ),
    "evaluate-killed": killed(
        "evaluate --metric deletion --metric accuracy --saliency gradient "
        "--max-samples 40 --batch-size 2 --steps 8"
    ),
    "evaluate-stopped": stopped(
        "evaluate --compare second.safetensors weights.safetensors --metric deletion "
        f"--saliency gradient --max-samples 40 --batch-size 2 --steps 8 {PLAIN}"
    ),
    "evaluate-two": Case(
        (
            typed(
                "evaluate --metric deletion --metric accuracy --saliency gradient "
                "--max-samples 40 --steps 4 --batch-size 8",
                processes=2,
            ),
        )
    ),
}

FINETUNE = {
    "finetune-readme": lines(f"finetune --objective score-matching --max-val 40 {FEW}"),
    "finetune-own": lines(
        f"finetune weights.safetensors {OWN} {TRAIN} --objective gradient-norm "
        f"--min-accuracy 0.05 --accumulate 2 --saliency gradcam --saliency gradient {FEW}"
    ),
    "finetune-preset": lines(
        f"finetune --preset p4-interpretation {TRAIN} --teacher-samples 2 "
        "--teacher weights.safetensors --max-steps 3 --max-samples 3 --train-batch-size 20 "
        "--other second.safetensors weights.safetensors "
        f"{PLAIN}"
    ),
    "finetune-scratch": lines(
        f"finetune --from-scratch {NET} {TRAIN} --objective cross-entropy --optimizer adam "
        f"--lr 0.01 --augment flip-crop {FEW} --output-dir first",
        f"finetune --from-scratch {NET} {TRAIN} --objective jacobian --projections 1 --seed 1 "
        f"--against first/model.safetensors {FEW}",
    ),
    "finetune-marked": lines(f"finetune {TRAIN} --objective harmonise --annotations marked {FEW}"),
    "finetune-adversarial": lines(
        f"finetune {TRAIN} --objective adversarial --penalty elastic --eps2 0.1 --replay 2 "
        f"--clamp --surrogate softplus --beta 20 --audit-norm l2 --audit-eps 0.5 {FEW}"
    ),
    "finetune-ends": lines(
        f"finetune {TRAIN} --objective cross-entropy --lr 5 --schedule constant {FEW} "
        "--checkpoint-every 1 --min-accuracy 0.8",
        f"finetune {TRAIN} --objective gradient-norm --lr 1e6 --schedule constant {FEW} "
        "--checkpoint-every 1 --output-dir diverged",
    ),
    "finetune-killed": killed(
        f"finetune {TRAIN} --objective pgd --steps 2 --epochs 5 --train-batch-size 10 "
        "--max-samples 2 --checkpoint-every 10",
        CHECKPOINT,
    ),
    "finetune-stopped": stopped(
        f"finetune {TRAIN} --objective noise --epochs 5 --train-batch-size 10 "
        "--max-samples 2 --checkpoint-every 10",
        CHECKPOINT,
    ),
    "finetune-two": Case(
        (
            typed(
                f"finetune {TRAIN} --objective gradient-norm --device cpu {FEW}",
                processes=2,
            ),
        )
    ),
}

GATE = {
    "gate-default": lines("gate --print-policy", "gate --max-samples 16 --ig-steps 8"),
    "gate-policy": Case(
        (
            typed(
                "evaluate --data validation --metric preservation --steps 8 --saliency gradcam "
                "--max-samples 12"
            ),
            typed(
                f"gate --policy policy.toml {CHEAP} "
                "--baseline saliency-audit-report/evaluate/summary.csv",
                environment={"GITHUB_STEP_SUMMARY": "page.md"},
            ),
        )
    ),
    "gate-others": lines(
        "gate model.pt --channels 1 --mean 0 --std 1 --policy others.toml",
        "gate --policy quick.toml --data broken/labels.csv --output-dir unreadable",
        "gate --policy quick.toml --max-samples 9 --target label --output-dir passed --quiet",
    ),
    "gate-killed": killed("gate --policy quick.toml --max-samples 60 --batch-size 2"),
}

REFUSED = {
    "refused-models": lines(
        "fool nowhere.pt",
        "attack broken/truncated.safetensors --arch my_package.models:build",
        "gate broken/pickled.pt",
        "finetune model.pt --channels 1 --size 28 --objective pgd",
    ),
    "refused-data": lines(
        "evaluate --data broken/only.csv --metric deletion",
        "gate --data broken/beyond.csv",
        "finetune --objective harmonise",
    ),
    "refused-options": lines(
        "fool --saliancy gradient",
        "fool --strength nan",
        "evaluate --metric deltion",
        "evaluate --metric sparsity-gini --steps 4",
        "attack --beta 5 --beta-growth",
        "finetune --objective pgd --mu 1",
        "finetune --preset p9",
        "evaluate --workers 100000",
        "nothing",
    ),
    "refused-policies": lines(
        *(
            f"gate --policy {name}.toml"
            for name in (
                *("unknown-key", "unknown-metric", "bad-value", "later-value"),
                *("only-warns", "no-toml"),
            )
        ),
        "gate --policy policy.toml",
    ),
    "refused-folders": lines(
        "evaluate --metric accuracy --max-samples 4 --output-dir taken/report",
        "attack --data photos --output-dir photos/report",
        "evaluate --metric sparsity-gini --saliency gradient --max-samples 4 --seed 1",
        "evaluate --metric sparsity-gini --saliency gradient --max-samples 4 --seed 2 --resume",
    ),
}

CASES: dict[str, Case] = SURFACE | FOOL | ATTACK | EVALUATE | FINETUNE | GATE | REFUSED
