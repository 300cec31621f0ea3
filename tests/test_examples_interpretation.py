"""The scripts for P4's tables: what they have in common, and that the pages have their numbers."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

EXAMPLE = Path(__file__).parent.parent / "examples" / "paper-4-interpretation"
MODULES = ("tables", "mnist", "cifar", "mnist_cnn", "cifar_cnn")


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield EXAMPLE
    for name in MODULES:
        sys.modules.pop(name, None)


def experiments():
    import cifar
    import mnist

    return mnist.EXPERIMENT, cifar.EXPERIMENT


def test_the_networks_take_their_images(folder):
    import cifar_cnn
    import mnist_cnn

    for build, side in (
        (mnist_cnn.MnistCnn, (1, 28, 28)),
        (cifar_cnn.CifarCnn, (3, 32, 32)),
        (cifar_cnn.small, (3, 32, 32)),
    ):
        torch.manual_seed(0)
        images = torch.rand(2, *side, requires_grad=True)
        logits = build().eval()(images)
        assert logits.shape == (2, 10)
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)
        assert (gradient.flatten(1).norm(dim=1) > 0).all()
    # 64 to 128 filters of 3x3, then 3200, 256, 256 and 10.
    with torch.device("meta"):
        weights = sum(p.numel() for p in cifar_cnn.CifarCnn().parameters())
    convolutions = 9 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128) + 2 * 64 + 2 * 128
    assert weights == convolutions + 3200 * 256 + 256 * 256 + 256 * 10 + 256 + 256 + 10


def test_claims_and_objectives_name_what_there_is(folder):
    import tables

    for of in experiments():
        assert set(of.paper) == set(tables.NETWORKS)
        for size in (of.quick, of.full):
            assert set(size.objectives) == set(tables.NETWORKS) - {"std"}
        for check, better, worse in {**tables.CLAIMS, **of.claims}.values():
            assert check in tables.CHECKS
            assert {better, worse} <= set(tables.NETWORKS)


def test_pages_and_claims_are_of_the_committed_numbers(folder):
    import tables

    for of in experiments():
        found = pd.read_csv(folder / f"{of.name}.csv")
        assert tables.table(of, found) in (folder / f"{of.name}.md").read_text("utf-8")
        claims = tables.claims(of, found).to_csv(index=False, float_format="%.4g")
        assert claims == (folder / f"{of.name}-claims.csv").read_text("utf-8")


def test_a_claim_is_above_zero_where_it_holds(folder):
    import tables

    _, of = experiments()
    means = {"accuracy": 0.1, "robust-accuracy": 0.1, "gradient-norm-target": 1.0}
    rows = [(name, 0, check, mean) for name in tables.NETWORKS for check, mean in means.items()]
    found = pd.DataFrame(rows, columns=["model", "seed", "check", "mean"])
    found.loc[found["model"] == "adv", "mean"] = [0.0, 0.3, 0.25]
    judged = tables.claims(of, found).set_index("claim")
    above = judged.loc["under attack: Adv. above Interp. R."]
    assert above["ours"] == pytest.approx(0.2)
    assert above["paper"] == pytest.approx(0.06)
    shorter = judged.loc["gradient of the label: Adv. shorter than Std."]
    assert shorter["ours"] == 0.75
    assert pd.isna(shorter["paper"])


def test_images_in_class_folders_or_as_published(folder, tmp_path):
    import tables

    published = f"cifar10:{tmp_path}"
    assert tables.places("cifar10", tmp_path) == (f"{published}@train", published)
    (tmp_path / "train").mkdir()
    own = str(tmp_path / "train"), str(tmp_path / "test")
    assert tables.places("cifar10", tmp_path) == own
