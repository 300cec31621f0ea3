"""Folders: torchvision's ImageFolder is the oracle."""

import os
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets, transforms

from saliency_audit.data import batches, open_data
from saliency_audit.data.files import Sizes
from saliency_audit.errors import InputError

SHAPE = (3, 32, 32)


def save(path, *, colour=True, size=(40, 50), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if colour else size
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "photos"
    names = ["dog/b.png", "dog/a.JPEG", "cat/x/1.png", "cat/x-y/0.png", "cat/z.bmp", "ant/7.webp"]
    for seed, name in enumerate(names):
        save(root / name, seed=seed)
    (root / "dog" / "notes.txt").write_text("no picture")
    return root


def test_equals_torchvision(root):
    expected = datasets.ImageFolder(
        root,
        transforms.Compose(
            [transforms.Resize(37), transforms.CenterCrop(32), transforms.ToTensor()]
        ),
    )
    data = open_data(str(root), input_shape=SHAPE)
    (batch,) = batches(data, batch_size=10)
    assert data.class_names == expected.classes
    assert [str(root / name) for name in batch.names] == [path for path, _ in expected.samples]
    assert batch.labels.tolist() == expected.targets
    assert torch.equal(batch.images, torch.stack([image for image, _ in expected]))
    assert data.labelled
    assert data.name == "photos"
    assert data.notes == []


def test_empty_class_folder_keeps_its_index_and_hidden_ones_do_not_count(root):
    (root / "bee").mkdir()
    save(root / ".cache" / "a.png")
    save(root / "dog" / "._a.png")
    data = open_data(str(root), input_shape=SHAPE, outputs=4)
    assert data.class_names == ["ant", "bee", "cat", "dog"]
    assert sorted(set(data.labels.tolist())) == [0, 2, 3]
    assert len(data) == 6


def test_classes_file_maps_folders_to_indices(root, tmp_path):
    (tmp_path / "classes.txt").write_text("wolf\ndog\nbee\ncat\n\nant\n")
    data = open_data(str(root), input_shape=SHAPE, classes_file=tmp_path / "classes.txt", outputs=6)
    assert dict(zip(data.names, data.labels.tolist(), strict=True)) == {
        "ant/7.webp": 5,
        "cat/x-y/0.png": 3,
        "cat/x/1.png": 3,
        "cat/z.bmp": 3,
        "dog/a.JPEG": 1,
        "dog/b.png": 1,
    }
    assert data.notes == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog\ncat\n", r"does not name the folder 'ant' .*1 of 3 folders are missing"),
        ("dog\ncat\ndog\nant\n", "names 'dog' twice"),
        ("ant\ncat\na\nb\ndog\n", r"'dog' the index 4 but the model has 4 outputs \(0 to 3\)"),
        ("\n", "is empty; give one folder name per line"),
        (None, "cannot be read"),
    ],
)
def test_bad_classes_files(root, tmp_path, text, message):
    file = tmp_path / "classes.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message):
        open_data(str(root), input_shape=SHAPE, classes_file=file, outputs=4)


def test_more_folders_than_outputs_are_refused_and_fewer_are_told(root):
    with pytest.raises(InputError, match=r"has 3 class folders but the model has 2 outputs.*--cla"):
        open_data(str(root), input_shape=SHAPE, outputs=2)
    (note,) = open_data(str(root), input_shape=SHAPE, outputs=1000).notes
    assert "classes 0 to 2 in sorted order; if they are not, give --classes FILE" in note


def test_pictures_without_class_folders_are_unlabelled(tmp_path):
    save(tmp_path / "b.png")
    save(tmp_path / "a.png")
    data = open_data(str(tmp_path), input_shape=SHAPE)
    assert data.names == ["a.png", "b.png"]
    assert data.labels.tolist() == [-1, -1]
    assert not data.labelled
    assert "its 2 images are unlabelled" in data.notes[0]
    with pytest.raises(InputError, match="has none"):
        open_data(str(tmp_path), input_shape=SHAPE, classes_file=tmp_path / "classes.txt")


def test_pictures_beside_class_folders_are_left_out_and_told(root):
    save(root / "stray.png")
    data = open_data(str(root), input_shape=SHAPE)
    assert "stray.png" not in data.names
    assert data.notes == ["1 pictures beside the class folders are left out"]


def test_a_folder_of_splits_is_not_a_data_set(tmp_path):
    save(tmp_path / "train" / "cat" / "a.png")
    save(tmp_path / "val" / "cat" / "a.png")
    with pytest.raises(InputError, match=r"holds train, val, which look like splits.*/train"):
        open_data(str(tmp_path), input_shape=SHAPE)


def test_empty_folders_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "cat"):
        folder.mkdir(exist_ok=True)
        with pytest.raises(InputError, match="holds no pictures"):
            open_data(str(tmp_path), input_shape=SHAPE)


def test_pictures_of_other_kinds_are_named(tmp_path):
    (tmp_path / "cat").mkdir()
    for i in range(3):
        Image.new("L", (4, 4)).save(tmp_path / "cat" / f"{i}.gif")
    (tmp_path / "cat" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds 3 \.gif, 1 \.txt, but nothing that is read"):
        open_data(str(tmp_path), input_shape=SHAPE)


def test_file_names_must_be_text(tmp_path):
    save(tmp_path / "cat" / "a.png")
    try:
        (tmp_path / "cat" / "a.png").rename(tmp_path / "cat" / "\udcff.png")
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    with pytest.raises(InputError, match="is not UTF-8; rename it"):
        open_data(str(tmp_path), input_shape=SHAPE)


@pytest.mark.parametrize(
    ("grey_data", "message"),
    [
        (True, r"has grey images \(a/\d.png\) but the model takes colour ones.*--channels 1"),
        (False, r"has colour images \(a/\d.png\) but the model takes grey ones.*--channels 3"),
    ],
)
def test_colours_must_be_the_models(tmp_path, grey_data, message):
    for i in range(3):
        save(tmp_path / "a" / f"{i}.png", colour=not grey_data)
    (tmp_path / "a" / "00.png").write_bytes(b"the first is not readable")
    with pytest.raises(InputError, match=message):
        open_data(str(tmp_path), input_shape=(3 if grey_data else 1, 32, 32))


@pytest.mark.parametrize("colour", [True, False])
def test_stray_pictures_of_the_other_kind_are_converted(tmp_path, colour):
    for i in range(4):
        save(tmp_path / "a" / f"{i}.png", colour=(i != 0) == colour, size=(32, 32))
    channels = 3 if colour else 1
    (batch,) = batches(open_data(str(tmp_path), input_shape=(channels, 32, 32)), batch_size=4)
    assert batch.images.shape == (4, channels, 32, 32)
    stray = Image.open(tmp_path / "a" / "0.png").convert("RGB" if colour else "L")
    assert torch.equal(batch.images[0], transforms.functional.to_tensor(stray))


def test_each_folder_is_listed_once_in_a_whole_run(run, tmp_path, monkeypatch):
    for i in range(12):
        save(tmp_path / f"photos/{i % 3}/{i % 2}/{i}.png", colour=False, size=(28, 28), seed=i)
    listed, scandir = Counter(), os.scandir

    def counted(place="."):
        listed[os.path.realpath(place)] += 1
        return scandir(place)

    monkeypatch.setattr(os, "scandir", counted)
    ran = run("evaluate", "--data", tmp_path / "photos", "--max-samples", 4, "--saliency",
              "gradient", "--metric", "sparsity-gini")  # fmt: skip
    assert ran.code == 0, ran.err
    of_data = {place: n for place, n in listed.items() if place.startswith(f"{tmp_path}/photos")}
    assert len(of_data) == 10
    assert set(of_data.values()) == {1}


def test_only_the_files_of_a_run_are_looked_up(root, monkeypatch):
    looked_up, size_of = [], Sizes.__getitem__

    def counted(sizes, place):
        looked_up.append(place)
        return size_of(sizes, place)

    monkeypatch.setattr(Sizes, "__getitem__", counted)
    data = open_data(str(root), input_shape=SHAPE, max_samples=2)
    assert len(data.fingerprint) == 64
    assert len(looked_up) == 2
    assert data.sizes == [(root / name).stat().st_size for name in data.names]
    assert [*Sizes(root, ["dog/a.JPEG", "gone.png"])[:]] == [
        (root / "dog/a.JPEG").stat().st_size,
        -1,
    ]
