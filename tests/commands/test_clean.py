"""What is said of the accuracy on the images as they are, and of a model that sees nothing."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from saliency_audit.assets import FashionMnistCnn, bundled_images
from saliency_audit.commands.clean import Clean


@pytest.mark.parametrize(
    ("right", "n", "classes", "guesses"),
    [
        (0, 1, 10, True),  # from the first image on
        (1, 1, 10, False),
        (2, 4, 2, True),
        (3, 4, 2, False),
        (1, 9, 10, False),
        (18, 64, 10, False),
        (11, 64, 10, True),
        (0, 0, 10, False),
    ],
)
def test_guessing_is_told_by_the_images_that_there_are(right, n, classes, guesses):
    assert Clean(right, n, readable=n, unreadable=0, classes=classes).at_chance == guesses


FEW = ("--saliency", "gradient", "--max-samples", 2)


def test_wrong_preprocessing_and_order_are_named_as_causes(run):
    images, labels, _ = bundled_images("test")
    Image.fromarray(images[0]).save("a.png")
    Path("images.csv").write_text(f"path,label\na.png,{(labels[0] + 1) % 10}\n")
    ran = run("check", *FEW, "--data", "images.csv")
    assert "WARNING: clean accuracy 0.0% is that of guessing among 10 classes" in ran.err
    assert "--mean and --std (the preprocessing) and --classes (the order of the lab" in ran.err


def test_a_model_that_hardly_looks_at_the_image_is_told(run):
    torch.manual_seed(0)
    torch.save(FashionMnistCnn().state_dict(), "untrained.pt")
    arch = ("--arch", "saliency_audit.assets:FashionMnistCnn")
    ran = run("check", "untrained.pt", *arch, *FEW)
    assert "WARNING: untrained.pt: its output hardly depends on the image (log-prob" in ran.err
    assert "are its weights loaded" in ran.err
    assert "hardly" not in run("check", *FEW).err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_labels_that_no_readable_image_has_are_not_called_missing(run):
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 3))).save("model.pt")
    Image.new("L", (8, 8), 60).save("a.png")
    Image.new("L", (8, 8), 90).save("b.png")
    Path("broken.png").write_bytes(b"no picture")
    Path("images.csv").write_text("path,label\na.png,\nb.png,\nbroken.png,1\n")
    ran = run("check", "model.pt", "--saliency", "gradient", "--data", "images.csv")
    said = "clean accuracy: undefined, no image of images.csv that has a label can be read"
    assert said in ran.err
    assert "have no labels" not in ran.err
