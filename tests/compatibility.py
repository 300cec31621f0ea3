"""Every saliency method on sixty architectures: ``python -m tests.compatibility [NAME ...]``.

Random weights, two images of noise. For each pair: ``ok`` (a finite map of each image), ``refused``
(an error of ours, which says why the method does not hold) or ``failed`` (anything else). Writes
``results.csv``, one line for each pair, and ``results.md``, the table; without names, all again.
"""

import argparse
import csv
from collections import Counter
from inspect import signature
from pathlib import Path

import torch
from torch import nn

from saliency_audit.catalogue.methods import USUAL
from saliency_audit.errors import AuditError
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier, load

# Side in pixels where an architecture takes less than its own, which takes less time.
TORCHVISION = {
    "alexnet": 64, "vgg11": 32, "vgg16_bn": 32, "resnet18": 64, "resnet50": 64,
    "wide_resnet50_2": 64, "densenet121": 64, "squeezenet1_1": 64, "googlenet": 64,
    "inception_v3": 96, "shufflenet_v2_x0_5": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64,
    "mnasnet0_5": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64, "regnet_y_400mf": 64,
    "convnext_tiny": 64, "swin_t": 64, "maxvit_t": None, "vit_b_16": None,
}  # fmt: skip
TIMM = {
    "resnet18": 64, "resnet26d": 64, "legacy_seresnet18": 64, "resnest14d": 64,
    "cspresnet50": 64, "dpn48b": 64, "inception_v4": 96, "xception41": 64, "hrnet_w18_small": 64,
    "dla34": 64, "ese_vovnet19b_slim": 64, "tresnet_m": 64, "regnety_002": 64,
    "mobilenetv3_small_050": 64, "efficientnet_lite0": 64, "ghostnet_050": 64, "mixnet_s": 64,
    "nf_resnet26": 64, "convnext_atto": 64, "convnextv2_atto": 64, "repvgg_a0": 64,
    "fastvit_t8": 64, "edgenext_xx_small": 64, "mobilevit_xxs": 64, "efficientformer_l1": None,
    "poolformer_s12": 64, "levit_128s": None, "vit_tiny_patch16_224": None,
    "deit_tiny_distilled_patch16_224": None, "cait_xxs24_224": None, "xcit_nano_12_p16_224": None,
    "swin_tiny_patch4_window7_224": None, "swinv2_tiny_window8_256": None, "davit_tiny": 64,
    "maxvit_pico_rw_256": None, "coatnet_pico_rw_224": None, "pit_ti_224": None,
    "mixer_s32_224": None, "resmlp_12_224": None,
}  # fmt: skip
ARCHITECTURES = {f"torchvision:{name}": side for name, side in TORCHVISION.items()} | {
    f"timm:{name}": side for name, side in TIMM.items()
}
EXPLAINING = [name for name in USUAL if not METHODS[name].control]
COLUMNS = ("architecture", "side", "method", "status", "zero", "reason")
WORDS = ("ok", "refused", "failed")


def classifier(name: str) -> Classifier:
    """An architecture with random weights, none of which are all zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = load(f"{name}@none", size=ARCHITECTURES[name])
        for module in model.modules():
            # Heads that start at zero have no map.
            if isinstance(module, nn.Linear) and not module.weight.any():
                nn.init.normal_(module.weight, std=0.02)
    return model


def tried(model: Classifier, method: str) -> tuple[str, int, str]:
    """What becomes of two images: a word, how many maps are zero everywhere, and the reason."""
    side = min(model.input_shape[1:])
    cheap = {"samples": 2, "steps": 2, "window": side // 2, "stride": side // 2}
    cheap |= {"copies": 2, "iterations": 2, "proximal_steps": 2}
    function = METHODS[method].function
    known = signature(function).parameters
    options = {key: value for key, value in cheap.items() if key in known}
    seeds = [torch.Generator().manual_seed(seed) for seed in range(2)]
    images = torch.rand(2, *model.input_shape, generator=torch.Generator().manual_seed(1))
    try:
        with model.audited():
            targets = model(images).argmax(1)
            maps = function(model, images, targets, generators=seeds, **options)
    except AuditError as error:
        return "refused", 0, " ".join(str(error).split())
    except Exception as error:
        return "failed", 0, f"{type(error).__name__}: {' '.join(str(error).split())}"
    if maps.shape not in ((2, *model.input_shape), (2, 1, *model.input_shape[1:])):
        return "failed", 0, f"maps of shape {tuple(maps.shape)}"
    if not maps.isfinite().all():
        return "failed", 0, "maps are not finite"
    return "ok", int((maps == 0).flatten(1).all(1).sum()), ""


def rows_of(name: str, methods: list[str] = EXPLAINING) -> list[dict[str, object]]:
    """A line for each method on an architecture."""
    model = classifier(name)
    side = model.input_shape[-1]
    return [
        dict(zip(COLUMNS, (name, side, method, *tried(model, method)), strict=True))
        for method in methods
    ]


def markdown(rows: list[dict[str, object]]) -> str:
    """How many of each word a method has, then a line for each architecture."""
    words = {(row["architecture"], row["method"]): row for row in rows}
    names = list(dict.fromkeys(row["architecture"] for row in rows))
    lines = [f"{len(names)} architectures, 2 images each.\n", "| method | ok | refused | failed |"]
    lines.append("|---|---|---|---|")
    for method in EXPLAINING:
        counts = Counter(words[name, method]["status"] for name in names)
        lines.append(f"| {method} | {' | '.join(str(counts[word]) for word in WORDS)} |")
    lines += ["", f"| architecture | side | {' | '.join(EXPLAINING)} |"]
    lines.append("|---" * (2 + len(EXPLAINING)) + "|")
    for name in names:
        cells = [
            f"{row['status']}{', zero' * (str(row['zero']) == '2')}"
            for row in (words[name, method] for method in EXPLAINING)
        ]
        lines.append(f"| {name} | {words[name, 'gradient']['side']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(ARCHITECTURES), metavar="NAME")
    parser.add_argument("--into", type=Path, default=Path("examples/compatibility"))
    parser.add_argument("--method", choices=EXPLAINING, help="this one alone, the others stay")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    table = given.into / "results.csv"
    known: dict[str, list[dict[str, object]]] = {}
    if table.exists():
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                known.setdefault(row["architecture"], []).append(dict(row))
    for name in given.names:
        methods = [given.method] if given.method else EXPLAINING
        made = {row["method"]: row for row in [*known.get(name, []), *rows_of(name, methods)]}
        known[name] = [made[method] for method in EXPLAINING if method in made]
        rows = [row for each in ARCHITECTURES for row in known.get(each, [])]
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        (given.into / "results.md").write_text(markdown(rows))
        print(name, dict(Counter(str(row["status"]) for row in known[name])), flush=True)


if __name__ == "__main__":
    main()
