"""Which check of a gate refuses which forgery: one table for a network.

python red_team.py --output bundled
python red_team.py --network lite0.pt2 --mean 0.498 --std 0.502 --data labels.csv \
    --policy cheap.toml --output lite0

Every network of the table is saved as a program, as its owner would ship it, and judged by
`saliency-audit gate`. What is finished is not made again.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
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
from saliency_audit.cli import app
from saliency_audit.commands.gate.red_team import released
from saliency_audit.commands.known import first_images
from saliency_audit.commands.picture import load_picture
from saliency_audit.data import open_data
from saliency_audit.maps import magnitude
from saliency_audit.methods import METHODS
from saliency_audit.metrics.similarity import cosine
from saliency_audit.models import Classifier, input_gradient, load, save
from saliency_audit.report.figures import draw_table
from saliency_audit.report.table import Cell, Table, markdown, verdict
from saliency_audit.report.tables import write_csv
from saliency_audit.tricks import TRICKS

IMAGES = 24  # that forgeries are made for, and whose maps are looked at
AT_ONCE = 8
MAPS = ("logit", "log-prob", "gradcam")
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
TRAINED: dict[str, list[str]] = {
    "trained gradcam, location": ["--trick", "finetune"],
    "trained gradcam, picture": ["--trick", "finetune", "--aim", "picture"],
    "trained gradient, picture": ["--trick", "finetune", "--aim", "picture", "--forge", "gradient"],
    "trained gradcam, trigger": ["--trick", "trigger"],
}
ARCH = "saliency_audit.assets:FashionMnistCnn"
Make = Callable[[Classifier, Tensor, Tensor, Tensor], nn.Module]


def forgeries() -> Iterator[tuple[str, Make]]:
    """Name in the table, and what makes it of a model, a picture, images and their classes."""
    yield "honest", lambda model, *_: model.network
    for (name, (trick, options)), hold, strength in product(
        FORMS.items(), ("constants", "weights"), STRENGTHS
    ):
        if options.get("shift") == "head" and hold == "constants":
            continue  # it adds nothing that could be held
        play = TRICKS[trick].function
        make = partial(play, strength=strength, hold=hold, batch_size=AT_ONCE, **options)
        yield f"{name}, {hold}, {strength}", make
    for eps in LARGER:
        sine = partial(TRICKS["loss-sine"].function, eps=eps, hold="weights", batch_size=AT_ONCE)
        yield f"loss-sine of {eps} nats, weights, 10", sine
    for name, twin in TWINS.items():
        yield name, partial(twin, strength=10)


def run(*command: str) -> None:
    """One command of the tool, quietly and in this process, which has torch loaded."""
    with redirect_stdout(StringIO()):
        app([*command, "--quiet"], standalone_mode=False)


def silhouettes(folder: Path) -> Path:
    """What is garment in each bundled training image, as a stand-in for what people would mark."""
    images, _, names = bundled_images("train")
    for image, name in zip(images, names, strict=True):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(image > 25, 255, 0).astype(np.uint8)).save(path)
    return folder


def retrained(output: Path, only: tuple[str, ...], steps: int) -> Iterator[tuple[str, Path]]:
    """The bundled network after trainings, honest ones first and then those that forge a map."""
    for objective in OBJECTIVES:
        if (name := f"finetune {objective}").startswith(only):
            folder = output / "finetune" / objective
            if not (folder / "model.pt2").is_file():
                train(objective, folder, steps)
            yield name, folder / "model.pt2"
    for name, options in TRAINED.items():
        if name.startswith(only):
            folder = output / "finetune" / slug(name)
            weights = folder / f"{options[1]}.safetensors"
            if not weights.is_file():
                run(
                    "fool", *options, "--max-samples", "8", "--saliency", "gradcam",
                    "--scalar", "logit", "--output-dir", str(folder),
                )  # fmt: skip
            yield name, weights


def train(objective: str, folder: Path, steps: int) -> None:
    """One objective of `finetune`, the audit that follows kept short."""
    options = list(OBJECTIVES[objective])
    if "--annotations" in options:
        options.append(str(silhouettes(folder.parent / "silhouettes")))
    run(
        "finetune", "--objective", objective, *options, "--max-steps", str(steps),
        "--max-samples", "8", "--output-dir", str(folder),
    )  # fmt: skip


def main() -> None:
    """Forge, judge, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", help="model.pt2; default the bundled network")
    parser.add_argument("--mean", type=float)
    parser.add_argument("--std", type=float)
    parser.add_argument("--data", help="labelled images, as for the gate")
    parser.add_argument("--policy", help="of the gate; default its own")
    parser.add_argument("--max-samples", type=int, help="images of a gate; default the policy's")
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of names in the table")
    parser.add_argument(
        "--steps", type=int, default=100, help="of each honest training; 0: nothing is trained"
    )
    parser.add_argument("--output", type=Path, default=Path("red-team"))
    asked = parser.parse_args()
    output, only = asked.output, tuple(asked.only)
    (output / "models").mkdir(parents=True, exist_ok=True)

    normalised = {"mean": asked.mean, "std": asked.std}
    model = load(asked.network, **normalised).eval().requires_grad_(False)
    data = open_data(asked.data, input_shape=model.input_shape, max_samples=IMAGES)
    images, _, _ = first_images(data, IMAGES, AT_ONCE, device=model.mean.device, workers=0)
    logits = predict(model, images)
    picture = load_picture(None, model.input_shape[1:])

    def networks() -> Iterator[tuple[str, Path]]:
        for name, make in forgeries():
            if name.startswith(only):
                path = output / "models" / f"{slug(name)}.pt2"
                if not path.is_file():
                    network = make(model, picture, images, logits.argmax(1))
                    save(network, path, format="exported", input_shape=model.input_shape)
                yield name, path
        if asked.network is None and asked.steps:
            yield from retrained(output, only, asked.steps)

    options = [f"--{word}={value}" for word, value in normalised.items() if value is not None]
    options += [f"--data={asked.data}"] if asked.data else []
    options += [f"--policy={asked.policy}"] if asked.policy else []
    options += [f"--max-samples={asked.max_samples}"] if asked.max_samples else []
    if asked.network is None:
        options += ["--mean=0", "--std=1"]
    shown, found = [], {}
    for name, path in networks():
        folder = output / "gate" / slug(name)
        if not (folder / "checks.csv").is_file():
            arch = ["--arch", ARCH] if path.suffix == ".safetensors" else []
            run("gate", str(path), *arch, *options, "--output-dir", str(folder))
        found[name] = pd.read_csv(folder / "checks.csv")
        arch = ARCH if path.suffix == ".safetensors" else None
        network = load(str(path), arch=arch, **normalised).eval().requires_grad_(False)
        seen = what_it_shows(network, images, logits, picture)
        shown.append({"network": name, **seen})
        print(f"{'released' if released(found[name]) else 'refused '} {name}: {seen}", flush=True)
    write(output, pd.DataFrame(shown), found)


def slug(name: str) -> str:
    """A name as a file has it."""
    return name.translate(str.maketrans(" ", "-", ","))


def predict(model: Classifier, images: Tensor) -> Tensor:
    """Logits, a few images at a time."""
    with torch.no_grad():
        return torch.cat([model(part) for part in images.split(AT_ONCE)])


def what_it_shows(
    model: Classifier, images: Tensor, logits: Tensor, picture: Tensor
) -> dict[str, float]:
    """How much of the picture gradients show, and what that did to the predictions.

    Args:
        model: judged.
        images: ``(n, c, h, w)``.
        logits: of the honest network, ``(n, classes)``.
        picture: that was wanted, ``(h, w)``.

    Returns:
        Mean cosines with the picture of the gradients of logit and log-probability and of
        Grad-CAM; share of predictions that stayed; largest change of a probability.
    """
    targets, classes = logits.argmax(1), logits.shape[1]
    own = predict(model, images)
    change = own.double().softmax(1)[:, :classes] - logits.double().softmax(1)
    seen = {
        scalar: input_gradient(model, images, targets, scalar=scalar, batch_size=AT_ONCE)
        for scalar in ("logit", "log-prob")
    }
    seen["gradcam"] = METHODS["gradcam"].function(
        model, images, targets, scalar="logit", batch_size=AT_ONCE
    )
    wanted = picture.expand(len(images), *picture.shape)
    return {
        **{name: float(cosine(magnitude(maps), wanted).nanmean()) for name, maps in seen.items()},
        "kept": float((own.argmax(1) == targets).double().mean()),
        "prob_change": float(change.abs().max()),
    }


def write(output: Path, shown: pd.DataFrame, found: Mapping[str, pd.DataFrame]) -> None:
    """Write ``red-team.csv``, ``red-team.md`` and ``red-team.png``."""
    columns = ["network", "check", "setting", "status", "effect", "measured", "ci_low", "ci_high"]
    checks = pd.concat([frame.assign(network=name) for name, frame in found.items()])
    write_csv(output / "red-team.csv", shown.merge(checks[columns], on="network"))
    table = red_team(shown, found)
    (output / "red-team.md").write_text(markdown(table))
    draw_table(
        table,
        output,
        "red-team",
        title="Which check refuses which forgery?",
        footnote="logit, log-prob, gradcam: mean cosine of the map (of the gradient of logit and "
        "log-prob, and Grad-CAM) with the wanted picture; kept: predictions; p: largest change of "
        "a probability. One check that does not pass refuses a network, unless it only warns.",
        most=len(shown),
        across=20,
    )
    print(markdown(table))


def red_team(shown: pd.DataFrame, found: Mapping[str, pd.DataFrame]) -> Table:
    """A row for each network: what its maps show, what each check says, and the answer."""
    checks = list(dict.fromkeys(check for frame in found.values() for check in frame["check"]))
    rows: list[list[Cell]] = []
    for line in shown.to_dict("records"):
        frame = found[str(line["network"])]
        status = frame.set_index("check")["status"]
        no = not released(frame)
        rows.append(
            [
                str(line["network"]),
                verdict("failed", "refused") if no else verdict("passed", "released"),
                *(f"{line[name]:.2f}".replace("nan", "-") for name in MAPS),
                f"{line['kept']:.0%}",
                f"{line['prob_change']:.0e}",
                # What no policy asks for is there only where it refuses.
                *(verdict(status[check]) if check in status else "-" for check in checks),
            ]
        )
    return Table(["network", "is", *MAPS, "kept", "p", *checks], rows)


if __name__ == "__main__":
    main()
