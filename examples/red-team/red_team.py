"""Which check of a gate refuses which forgery: one table for a network.

python red_team.py --output bundled
python red_team.py --network lite0.pt2 --mean 0.498 --std 0.502 --data labels.csv --output lite0 \
    --policy cheap.toml

Every network of the table is saved as a program, as its owner would ship it, and judged by the
command that anyone would type. What is finished is not made again.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from twins import TWINS

from saliency_audit.assets import bundled_images
from saliency_audit.commands.gate.red_team import released
from saliency_audit.commands.known import first_images
from saliency_audit.commands.picture import load_picture
from saliency_audit.data import open_data
from saliency_audit.maps import magnitude
from saliency_audit.metrics.similarity import cosine
from saliency_audit.models import Classifier, input_gradient, load, save
from saliency_audit.report.figures import draw_table
from saliency_audit.report.table import Cell, Table, markdown, verdict
from saliency_audit.report.tables import write_csv
from saliency_audit.tricks import TRICKS

IMAGES = 24  # that forgeries are made for, and whose maps are looked at
AT_ONCE = 8
HONEST = "honest"
STRENGTHS = (3, 10, 30)
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "logit-shift": ("logit-shift", {}),
    "logit-shift cancel": ("logit-shift", {"shift": "cancel"}),
    "logit-shift head": ("logit-shift", {"shift": "head"}),
    "loss-sine": ("loss-sine", {}),
    "loss-sine dummy-class": ("loss-sine", {"form": "dummy-class"}),
    "loss-sine wrapper": ("loss-sine", {"form": "wrapper"}),
    "level-ripple": ("level-ripple", {}),
}
LARGER = (0.01, 0.1, 1)  # of the ripple of loss-sine, nats
OBJECTIVES: dict[str, list[str]] = {
    "cross-entropy": [],
    "noise": [],
    "score-matching": [],
    "anti-score-matching": [],
    "gradient-norm": [],
    "jacobian": [],
    "adversarial": [],
    "pgd": [],
    "interpretation": ["--teacher-samples", "10"],
    "harmonise": ["--annotations"],
}
Make = Callable[[Classifier, Tensor, Tensor, Tensor], nn.Module]


def forgeries() -> Iterator[tuple[str, Make]]:
    """Name in the table, and what makes it of a model, a picture, images and their classes."""
    yield HONEST, lambda model, *_: model.network
    for (name, (trick, options)), hold, strength in product(
        FORMS.items(), ("constants", "weights"), STRENGTHS
    ):
        if options.get("shift") == "head" and hold == "constants":
            continue  # it adds nothing that could be held
        make = TRICKS[trick].function
        yield (
            f"{name}, {hold}, {strength}",
            partial(make, strength=strength, batch_size=AT_ONCE, hold=hold, **options),
        )
    for eps in LARGER:
        sine = partial(TRICKS["loss-sine"].function, batch_size=AT_ONCE, eps=eps, hold="weights")
        yield f"loss-sine of {eps} nats, weights, 10", sine
    for name, twin in TWINS.items():
        yield name, partial(twin, strength=10)


def silhouettes(folder: Path) -> Path:
    """What is garment in each bundled training image, as a stand-in for what people would mark."""
    images, _, names = bundled_images("train")
    for image, name in zip(images, names, strict=True):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(image > 25, 255, 0).astype(np.uint8)).save(path)
    return folder


def run(*command: str) -> int:
    """One command of the tool, quietly."""
    words = [sys.executable, "-m", "saliency_audit", *command, "--quiet"]
    return subprocess.run(words, stdout=subprocess.DEVNULL).returncode


def trained(output: Path, steps: int, only: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """The bundled network after a short training by each objective: honest, all of them."""
    for objective, options in OBJECTIVES.items():
        if not f"finetune {objective}".startswith(only):
            continue
        folder = output / "finetune" / objective
        if not (folder / "model.pt2").is_file():
            marked = (
                [str(silhouettes(output / "silhouettes"))] if "--annotations" in options else []
            )
            run(
                "finetune", "--objective", objective, *options, *marked,
                "--max-steps", str(steps), "--max-samples", "8", "--output-dir", str(folder),
            )  # fmt: skip
        yield f"finetune {objective}", folder / "model.pt2"


def main() -> None:
    """Forge, judge, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", help="model.pt2; default the bundled network")
    parser.add_argument("--mean", type=float)
    parser.add_argument("--std", type=float)
    parser.add_argument("--data", help="labelled images, as for the gate")
    parser.add_argument("--policy", help="of the gate; default its own")
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of names in the table")
    parser.add_argument("--steps", type=int, default=100, help="of a training; 0 for none")
    parser.add_argument("--output", type=Path, default=Path("red-team"))
    asked = parser.parse_args()
    output: Path = asked.output
    only = tuple(asked.only)
    (output / "models").mkdir(parents=True, exist_ok=True)

    model = load(asked.network, mean=asked.mean, std=asked.std)
    model.eval().requires_grad_(False)
    data = open_data(asked.data, input_shape=model.input_shape, max_samples=IMAGES)
    images, _, _ = first_images(data, IMAGES, AT_ONCE, device=model.mean.device, workers=0)
    logits = predict(model, images)
    picture = load_picture(None, model.input_shape[1:])

    given = [f"--mean={model.mean.mean().item():g}", f"--std={model.std.mean().item():g}"]
    given += [f"--data={asked.data}"] if asked.data else []
    given += [f"--policy={asked.policy}"] if asked.policy else []
    shown: list[dict[str, Any]] = []
    found: dict[str, pd.DataFrame] = {}

    def judge(name: str, path: Path) -> None:
        folder = (
            output / "gate" / path.stem if path.parent.name == "models" else path.parent / "gate"
        )
        if not (folder / "checks.csv").is_file():
            run("gate", str(path), *given, "--output-dir", str(folder))
        found[name] = pd.read_csv(folder / "checks.csv")
        program = load(str(path), mean=asked.mean, std=asked.std).eval()
        shown.append({"network": name, **what_it_shows(program, images, logits, picture)})
        print(
            f"{name}: {'released' if released(found[name]) else 'refused'}", shown[-1], flush=True
        )

    for name, make in forgeries():
        if not name.startswith(only):
            continue
        path = output / "models" / f"{name.translate(str.maketrans(' ', '-', ','))}.pt2"
        if not path.is_file():
            network = make(model, picture, images, logits.argmax(1))
            save(network, path, format="exported", input_shape=model.input_shape)
        judge(name, path)
    if asked.network is None and asked.steps:
        for name, path in trained(output, asked.steps, only):
            judge(name, path)
    write(output, pd.DataFrame(shown), found)


def predict(model: Classifier, images: Tensor) -> Tensor:
    """Logits, a few images at a time."""
    with torch.no_grad():
        return torch.cat([model(part) for part in images.split(AT_ONCE)])


def what_it_shows(
    model: Classifier, images: Tensor, logits: Tensor, picture: Tensor
) -> dict[str, float]:
    """How much of the picture the gradients show, and what that cost.

    Returns:
        Mean cosines of the gradient maps of logit and log-probability with the picture; share of
        predictions that are those of the given model; largest change of a probability.
    """
    model.requires_grad_(False)
    targets, classes = logits.argmax(1), logits.shape[1]
    own = predict(model, images)
    seen = {
        scalar: input_gradient(model, images, targets, scalar=scalar, batch_size=AT_ONCE)
        for scalar in ("logit", "log-prob")
    }
    change = own.double().softmax(1)[:, :classes] - logits.double().softmax(1)
    return {
        **{
            scalar: float(
                cosine(magnitude(maps), picture.expand(len(images), *picture.shape)).mean()
            )
            for scalar, maps in seen.items()
        },
        "kept": float((own.argmax(1) == targets).double().mean()),
        "prob_change": float(change.abs().max()),
    }


def write(output: Path, shown: pd.DataFrame, found: dict[str, pd.DataFrame]) -> None:
    """Write ``red-team.csv``, ``red-team.md`` and ``red-team.png``."""
    rows = [frame.assign(network=name) for name, frame in found.items()]
    columns = ["check", "status", "effect", "measured", "ci_low", "ci_high", "n", "n_undefined"]
    frame = shown.merge(pd.concat(rows)[["network", *columns]], on="network")
    write_csv(output / "red-team.csv", frame)
    table = red_team(shown, found)
    (output / "red-team.md").write_text(markdown(table))
    draw_table(
        table,
        output,
        "red-team",
        title="Which check refuses which forgery?",
        footnote="Logit, log-prob: mean cosine of the gradient's magnitude with the wanted picture. "
        "Kept: predictions. A check that does not pass refuses the network.",
        most=80,
    )
    print(markdown(table))


def red_team(shown: pd.DataFrame, found: dict[str, pd.DataFrame]) -> Table:
    """A row for each network: what its maps show, what each check says, and the answer."""
    checks = list(dict.fromkeys(check for frame in found.values() for check in frame["check"]))
    rows: list[list[Cell]] = []
    for line in shown.to_dict("records"):
        frame = found[str(line["network"])]
        status = frame.set_index("check")["status"]
        passed = released(frame)
        rows.append(
            [
                str(line["network"]),
                f"{line['logit']:.2f}",
                f"{line['log-prob']:.2f}",
                f"{line['kept']:.0%}",
                f"{line['prob_change']:.0e}",
                *(verdict(str(status.get(check, "not run"))) for check in checks),
                verdict("passed", "released") if passed else verdict("failed", "refused"),
            ]
        )
    head = ["network", "logit", "log-prob", "kept", "change of p", *checks, "it is"]
    return Table(head, rows)


if __name__ == "__main__":
    main()
