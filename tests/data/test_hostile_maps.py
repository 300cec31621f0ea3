"""One hostile map is told and left out; links that lead in circles end."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from saliency_audit.data import from_tensors, open_data, read_annotations, saved_maps
from saliency_audit.data.images import Unreadable
from saliency_audit.data.map_files import read_map
from saliency_audit.data.walk import files_below
from saliency_audit.errors import InputError
from tests import hostile

GRID = np.arange(16, dtype=np.float32).reshape(4, 4)
MAPS = {
    ("pipe.npy", hostile.pipe): "is a pipe, not a regular file",
    ("pipe.png", hostile.pipe): "is a pipe, not a regular file",
    ("endless.npy", hostile.endless): "is a character device, not a regular file",
    ("lies.npy", hostile.npy_that_lies): r"has shape \(1000000, 1000000\) .* at most 536,870,912",
    ("short.npy", hostile.npy_cut_short): "is damaged",
    ("deep.npy", hostile.npy_deep_header): "is damaged",
    ("header.npy", hostile.npy_large_header): "has a header of 3,145,728 bytes",
    ("large.npy", hostile.npy_of_gigabytes): "has 4,294,967,424 bytes; a map has at most",
    ("bomb.npz", hostile.npz_bomb): "unpacks to 1,073,741,824 bytes; a map has at most",
    ("lies.npz", hostile.npz_that_lies): "is damaged",
    ("bzip2.npz", hostile.npz_of_another_packing): "is packed in a way that NumPy does not write",
    ("many.npz", hostile.npz_of_many): "holds very many arrays",
    ("bomb.png", hostile.png_bomb): "decompression bomb",
    ("deep.png", hostile.png_deep_bomb): "has 9000x9000 pixels of 16 bits a colour",
    ("two.png", hostile.png_two_headers): "has two sizes, 60000x60000 and another",
    ("text.png", hostile.png_text_bomb): "Decompressed data too large",
}


@pytest.mark.parametrize(("name", "make"), MAPS, ids=lambda given: getattr(given, "__name__", ""))
def test_one_hostile_map_is_told_and_left_out(tmp_path, name, make):
    make(tmp_path / name)
    np.save(tmp_path / "good.npy", GRID)
    key = name.partition(".")[0]
    images = from_tensors(torch.rand(2, 1, 4, 4), names=["good", key])
    saved = saved_maps(tmp_path, images)
    assert np.array_equal(saved.read("good")[0].numpy(), GRID)
    with pytest.raises(pytest.fail.Exception, match=MAPS[name, make]):
        pytest.fail(saved.problems[key])
    assert "\n" not in saved.problems[key]
    marked = read_annotations(tmp_path, images)
    assert list(marked.of) == ["good"]


def test_no_memory_for_a_map_is_its_problem(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", GRID)

    def full(path, names):
        raise MemoryError

    monkeypatch.setattr("saliency_audit.data.map_files.read_array_file", full)
    with pytest.raises(Unreadable, match=r"a.npy: not enough memory"):
        read_map(tmp_path / "a.npy")


def test_annotations_that_are_no_file(tmp_path):
    hostile.pipe(tmp_path / "boxes.csv")
    images = from_tensors(torch.rand(1, 1, 4, 4))
    with pytest.raises(InputError, match=r"--annotations '.*boxes.csv' is a pipe, not a regular"):
        read_annotations(tmp_path / "boxes.csv", images)


@pytest.fixture
def tangled(tmp_path):
    """A folder of two classes with links in circles, which double with every step."""
    root = tmp_path / "root"
    for name in ("cat", "dog"):
        (root / name / "in").mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 9, np.uint8) + np.arange(3, dtype=np.uint8)).save(
            root / name / "in" / "a.png"
        )
        for i in range(3):
            (root / name / f"self{i}").symlink_to(".")
            (root / name / f"root{i}").symlink_to("..")
            (root / name / f"above{i}").symlink_to("../..")
            (root / name / f"nowhere{i}.png").symlink_to(f"nowhere{i}.png")
    return root


def test_links_in_circles_end(tangled):
    data = open_data(str(tangled), input_shape=(3, 8, 8))
    readable = [name for name in data.names if "nowhere" not in name]
    assert readable == ["cat/in/a.png", "dog/in/a.png"]
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    assert data[1].image.message == "Too many levels of symbolic links"


def test_a_class_that_leads_back_is_refused(tangled):
    (tangled / "loop").symlink_to(".")
    with pytest.raises(InputError, match="loop leads back to the folder itself; remove the link"):
        open_data(str(tangled), input_shape=(3, 8, 8))


def test_links_that_double_without_a_circle_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("saliency_audit.data.walk.MOST_AGAIN", 500)
    for i in range(40):
        (tmp_path / "maps" / f"{i}").mkdir(parents=True)
        for name in "xy":
            (tmp_path / "maps" / f"{i}" / name).symlink_to(f"../{i + 1}")
    (tmp_path / "maps" / "40").mkdir()
    with pytest.raises(InputError, match="lead to the same folders more than 500 times"):
        list(files_below(tmp_path / "maps", "--maps"))


def test_two_links_to_one_folder_are_two_folders(tmp_path):
    (tmp_path / "shared").mkdir()
    np.save(tmp_path / "shared" / "a.npy", GRID)
    (tmp_path / "maps").mkdir()
    for name in "xy":
        (tmp_path / "maps" / name).symlink_to("../shared")
    found = saved_maps(
        tmp_path / "maps", from_tensors(torch.rand(2, 1, 4, 4), names=["x/a", "y/a"])
    )
    assert list(found.files) == ["x/a", "y/a"]


def test_folders_deeper_than_python_recurses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        os.makedirs("d/" * 350)
        os.chdir("d/" * 350)
    np.save("a.npy", GRID)
    found = [path.name for path in files_below(tmp_path, "--maps")]
    os.remove("a.npy")
    for _ in range(3 * 350):  # pytest could not remove them
        os.chdir("..")
        os.rmdir("d")
    assert found == ["a.npy"]
