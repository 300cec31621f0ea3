"""What the recorded commands are given, made of the bundled assets and always the same bytes.

No module of the package is imported: what is recorded must not depend on what is refactored.
"""

import importlib.util
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.golden.policies import POLICIES

WHEN = 1_700_000_000
"""Time of every file: the tool takes names, sizes and times for a fingerprint."""

MINE = """\
def explain(model, inputs, targets, **options):
    return abs(inputs)


def flat(model, inputs, targets, **options):
    return inputs * 0
"""
SMALL_NET = """\
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(4 * 26 * 26, 10)
    )
"""


def make(folder: Path, assets: Path) -> None:
    """Write every input into an empty folder."""
    images, labels = _bundled(assets, "test")
    _photos(folder, images, labels)
    _class_folders(folder / "validation", images, labels, each=2)
    _class_folders(folder / "training", *_bundled(assets, "train"), each=6)
    _marked(folder)
    _maps(folder / "maps")
    _models(folder, assets)
    _broken(folder, images, labels)
    Image.fromarray(np.eye(40, dtype=np.uint8) * 255).convert("RGB").save(folder / "mine.png")
    (folder / "mine.py").write_text(MINE)
    (folder / "small_net.py").write_text(SMALL_NET)
    (folder / "classes.txt").write_text("".join(f"class{i}\n" for i in range(10)))
    (folder / "taken").write_text("a file where a folder is wanted\n")
    for name, text in POLICIES.items():
        (folder / f"{name}.toml").write_text(text)
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (WHEN, WHEN))


def _bundled(assets: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(assets / f"fashion-mnist-{split}.npz", allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


def _photos(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Ten pictures with a manifest, and boxes of what somebody marked on them."""
    photos = folder / "photos"
    photos.mkdir()
    lines, boxes = ["path,label"], ["path,xmin,ymin,xmax,ymax"]
    for i in range(10):
        Image.fromarray(images[i]).save(photos / f"{i}.png")
        lines.append(f"{i}.png,{labels[i]}")
        boxes.append(f"{i}.png,{i},4,{i + 14},22")
    (photos / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")


def _class_folders(folder: Path, images: np.ndarray, labels: np.ndarray, *, each: int) -> None:
    for label in range(10):
        place = folder / f"class{label}"
        place.mkdir(parents=True)
        for number, i in enumerate(np.flatnonzero(labels == label)[:each]):
            Image.fromarray(images[i]).save(place / f"{number}.png")


def _marked(folder: Path) -> None:
    """The bright part of every training image, under its name."""
    for path in sorted((folder / "training").rglob("*.png")):
        place = folder / "marked" / path.relative_to(folder / "training")
        place.parent.mkdir(parents=True, exist_ok=True)
        bright = np.asarray(Image.open(path)) > 25
        Image.fromarray(bright.astype(np.uint8) * 255).save(place)


def _maps(folder: Path) -> None:
    """Maps for the ten photos: one is smaller, one NaN, one a picture, one for no image."""
    folder.mkdir()
    for i in range(9):
        side = 14 if i == 1 else 28
        np.save(folder / f"{i}.npy", np.random.default_rng(i).random((side, side)))
    np.save(folder / "3.npy", np.full((28, 28), np.nan))
    np.save(folder / "other.npy", np.ones((28, 28)))
    Image.fromarray(np.arange(784, dtype=np.uint16).reshape(28, 28).astype(np.uint8)).save(
        folder / "9.png"
    )


def _models(folder: Path, assets: Path) -> None:
    """The bundled weights as a state dict with an architecture, others, and a program."""
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text("")
    source = (assets / "fashion_mnist_cnn.py").read_text("utf-8")
    architecture = folder / "my_package" / "models.py"
    architecture.write_text(source + "\n\nbuild = FashionMnistCnn\n")
    state = load_file(assets / "fashion-mnist-cnn.safetensors")
    save_file(state, folder / "weights.safetensors")
    save_file(state | {"head.weight": state["head.weight"].flip(1)}, folder / "second.safetensors")
    _script(architecture, state, folder / "model.pt")


def _script(architecture: Path, state: dict[str, torch.Tensor], file: Path) -> None:
    """TorchScript without what it tells of this machine: where the source was."""
    spec = importlib.util.spec_from_file_location("my_package.models", architecture)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.build()
    network.load_state_dict(state)
    whole = file.with_suffix(".whole")
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):
        torch.jit.script(network.eval()).save(str(whole))
    with zipfile.ZipFile(whole) as read, zipfile.ZipFile(file, "w") as written:
        for info in sorted(read.infolist(), key=lambda info: info.filename):
            if not info.filename.endswith((".debug_pkl", "/.data/serialization_id")):
                written.writestr(zipfile.ZipInfo(info.filename), read.read(info))
    whole.unlink()


def _broken(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Files that are not what they seem."""
    broken = folder / "broken"
    broken.mkdir()
    lines = ["path,label"]
    for i in range(9):
        Image.fromarray(images[i]).save(broken / f"{i}.png")
        lines.append(f"{i}.png,{labels[i]}")
    (broken / "4.png").write_bytes(b"\x89PNG no more")
    (broken / "labels.csv").write_text("\n".join(lines) + "\n")
    (broken / "only.csv").write_text("path,label\n4.png,1\n")
    (broken / "beyond.csv").write_text("path,label\n0.png,3\n1.png,12\n")
    (broken / "truncated.safetensors").write_bytes(
        (folder / "weights.safetensors").read_bytes()[:5000]
    )
    (broken / "pickled.pt").write_bytes(pickle.dumps({"a": os.getcwd}))
