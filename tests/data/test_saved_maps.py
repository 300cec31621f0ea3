"""Maps in files: which one belongs to an image, what is read out of it, and what is refused."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from saliency_audit.data import from_tensors, open_data, saved_maps
from saliency_audit.data.belonging import assign
from saliency_audit.errors import InputError

GRID = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)


def images(names, channels=3, height=6, width=8):
    return from_tensors(torch.rand(len(names), channels, height, width), names=names)


def save(folder, name, array):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


@pytest.mark.parametrize(
    "array",
    [
        GRID,
        GRID[None],
        GRID[None, None],
        GRID.astype(np.float64),
        GRID.astype(">f4"),
        np.asfortranarray(GRID),
        np.stack([GRID, 2 * GRID, -GRID]),
        GRID > 0,
        (GRID * 100).astype(np.int16),
    ],
)
def test_arrays_are_read_as_they_are(tmp_path, array):
    save(tmp_path, "a.npy", array)
    saved = saved_maps(tmp_path, images(["a.jpg"]))
    expected = array.reshape(-1, 6, 8).astype(np.float32)
    assert np.array_equal(saved.read("a.jpg").numpy(), expected)
    assert saved.read("a.jpg").dtype == torch.float32
    assert saved.signed == bool((expected < 0).any())
    assert saved.notes == []
    assert saved.problems == {}


def test_archives(tmp_path):
    np.savez(tmp_path / "a.npz", anything=GRID)
    np.savez(tmp_path / "b.npz", other=GRID * 2, map=GRID)
    np.savez_compressed(tmp_path / "c.npz", saliency=GRID, label=np.array(3))
    np.savez(tmp_path / "d.npz", one=GRID, two=GRID)
    saved = saved_maps(tmp_path, images(["a", "b", "c", "d"]))
    for name in "abc":
        assert np.array_equal(saved.read(name)[0].numpy(), GRID)
    assert saved.problems == {
        "d": "d.npz holds 2 arrays (one, two); keep one, or call it map",
    }


def write_png16(path, array):
    """A PNG of 16 bits a colour, which Pillow cannot write."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    height, width, _ = array.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def test_pictures(tmp_path):
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (6, 8), np.uint8)
    deep = rng.integers(0, 65536, (6, 8), np.uint16)
    colour = rng.integers(0, 256, (6, 8, 3), np.uint8)
    deep_colour = rng.integers(0, 65536, (6, 8, 3), np.uint16)
    opaque = np.full((6, 8, 1), 255, np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey > 99).save(tmp_path / "bits.png")
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(colour).save(tmp_path / "colour.PNG")
    Image.fromarray(np.concatenate([colour, opaque], 2)).save(tmp_path / "alpha.png")
    Image.fromarray(np.repeat(grey[..., None], 3, 2)).save(tmp_path / "equal.png")
    write_png16(tmp_path / "deepcolour.png", deep_colour)
    names = ["grey", "bits", "deep", "colour", "alpha", "equal", "deepcolour"]
    saved = saved_maps(tmp_path, images(names))
    expected = {
        "grey": grey / 255,
        "bits": grey > 99,
        "deep": deep / 65535,
        "colour": colour.transpose(2, 0, 1) / 255,
        "alpha": colour.transpose(2, 0, 1) / 255,
        "equal": grey / 255,
        "deepcolour": deep_colour.transpose(2, 0, 1) / 65535,
    }
    for name, array in expected.items():
        # One channel stands for three where others have three.
        array = np.broadcast_to(array, (3, 6, 8)).astype(np.float32)
        assert np.array_equal(saved.read(name).numpy(), array), name
    assert not saved.signed
    assert "3 maps" in saved.notes[0]
    assert "colour map such as jet" in saved.notes[0]

    grey_model = saved_maps(tmp_path, images(names, channels=1))
    assert set(grey_model.problems) == {"colour", "alpha", "deepcolour"}
    assert "colour.PNG is in colour but the images are grey" in grey_model.problems["colour"]


def test_another_size_is_scaled_and_told_once(tmp_path):
    small, large = GRID[:3, :4], np.random.default_rng(2).normal(size=(3, 24, 20))
    save(tmp_path, "a.npy", small)
    save(tmp_path, "b.npy", large)
    save(tmp_path, "c.npy", GRID)
    saved = saved_maps(tmp_path, images(["a", "b", "c"]))
    for name, array in (("a", small[None]), ("b", large.astype(np.float32))):
        scaled = interpolate(
            torch.from_numpy(array)[None],
            (6, 8),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )[0]
        assert torch.equal(saved.read(name), scaled.expand(3, 6, 8))
    assert np.array_equal(saved.read("c")[1].numpy(), GRID)
    (note,) = saved.notes
    assert "scaled to the model's input of 6x8" in note
    assert note.endswith("1 of 3x4, 1 of 24x20")


def test_folders_come_first_then_a_stem_of_its_own(tmp_path):
    for name, value in [("x/a.npy", 1), ("a.npy", 2), ("b.npy", 3), ("y/c.jpg.npy", 4)]:
        save(tmp_path, name, GRID + value)
    names = ["x/a.jpg", "y/b.JPEG", "y/c.jpg", "y/c.png"]
    saved = saved_maps(tmp_path, images(names))
    for name, value in (("x/a.jpg", 1), ("y/b.JPEG", 3), ("y/c.jpg", 4)):
        assert np.array_equal(saved.read(name)[0].numpy(), GRID + value)
    assert list(saved.problems) == ["y/c.png"]
    assert saved.read("y/c.png").isnan().all()


def test_a_map_that_could_be_of_two_images_is_of_neither(tmp_path):
    save(tmp_path, "a.npy", GRID)
    save(tmp_path, "b.npy", GRID)
    save(tmp_path, "c.npy", GRID)
    saved = saved_maps(tmp_path, images(["x/a.jpg", "y/a.jpg", "b.jpg", "b.png", "c"]))
    assert saved.problems["x/a.jpg"] == "a is the name of several images; call its map x/a.npy"
    assert saved.problems["b.png"] == "b is the name of several images; call its map b.png.npy"
    assert list(saved.files) == ["c"]


def test_images_that_were_not_chosen_still_share_a_name():
    found = assign({"a": [1]}, ["x/a.jpg"], ["x/a.jpg", "y/a.jpg"])
    assert found.of == {}
    assert found.unclear == {"x/a.jpg": "a"}
    assert found.unused == []


def test_a_run_of_some_images_names_no_maps_of_the_others(tmp_path):
    (tmp_path / "images").mkdir()
    for name in "abcd":
        Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / f"images/{name}.png")
        save(tmp_path, f"maps/{name}.npy", GRID)
    data = open_data(str(tmp_path / "images"), input_shape=(3, 6, 8), max_samples=2)
    saved = saved_maps(tmp_path / "maps", data)
    assert len(saved.files) == 2
    assert saved.notes == []


def test_bundled_names_have_no_suffix(tmp_path):
    data = open_data("bundled:fashion-mnist", input_shape=(1, 28, 28), max_samples=2)
    save(tmp_path, f"{data.names[0]}.npy", np.eye(28))
    saved = saved_maps(tmp_path, data)
    assert torch.equal(saved.read(data.names[0]), torch.eye(28)[None])
    assert data.names[1] in saved.problems


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.where(GRID > 0, np.nan, GRID), "a.npy holds NaN, infinity"),
        (np.full((6, 8), 1e300), "beyond 32 bits"),
        (np.zeros((6, 8, 3)), r"a.npy has shape \(6, 8, 3\); give .* or \(3, h, w\)"),
        (np.zeros((2, 6, 8)), r"a.npy has shape \(2, 6, 8\)"),
        (np.zeros(48), r"a.npy has shape \(48,\)"),
        (np.zeros((2, 3, 6, 8)), r"a.npy has shape \(2, 3, 6, 8\)"),
        (np.zeros((0, 8)), r"a.npy has shape \(0, 8\)"),
        (GRID.astype(complex), "a.npy holds complex128; a map is real numbers"),
        (np.array([["a"]]), "a.npy holds <U1"),
        (b"", "a.npy is damaged"),
        (b"\x93NUMPY\x01\x00", "a.npy is damaged"),
        (b"hello", "a.npy is damaged, or holds objects"),
        (b"PK\x03\x04nothing", "a.npy is damaged"),
    ],
)
def test_what_cannot_be_used_is_named_and_nan(tmp_path, content, reason):
    if isinstance(content, bytes):
        (tmp_path / "a.npy").write_bytes(content)
    else:
        np.save(tmp_path / "a.npy", content)
    save(tmp_path, "b.npy", GRID)
    data = images(["a.jpg", "b.jpg", "c.jpg"])
    saved = saved_maps(tmp_path, data)
    assert saved.read("a.jpg").isnan().all()
    assert saved.read("a.jpg").shape == saved.read("b.jpg").shape == saved.shape == (1, 6, 8)
    with pytest.raises(pytest.fail.Exception, match=reason):
        pytest.fail(saved.problems["a.jpg"])
    assert saved.problems["c.jpg"] == "no map; looked for c.npy (.npz, .png)"
    assert saved.notes[0].startswith(f"2 of 3 images have no map in {tmp_path} that can be used")
    assert "\n" not in "".join(saved.problems.values())


def test_nothing_pickled_is_run(tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(ran), "w"))

    np.save(tmp_path / "a.npy", np.array([Evil()], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", map=np.array([Evil()], object))
    save(tmp_path, "c.npy", GRID)
    saved = saved_maps(tmp_path, images(["a", "b", "c"]))
    assert set(saved.problems) == {"a", "b"}
    assert "holds objects" in saved.problems["a"]
    assert not ran.exists()


def test_damaged_pictures(tmp_path):
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "a.png")
    save(tmp_path, "b.npy", GRID)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:45])
    (tmp_path / "c.png").write_bytes(b"no picture")
    saved = saved_maps(tmp_path, images(["a", "b", "c"]))
    assert set(saved.problems) == {"a", "c"}


def test_maps_of_no_image_are_noted(tmp_path):
    for name in ("a", "p", "q", "r", "s"):
        save(tmp_path, f"{name}.npy", GRID)
    save(tmp_path, ".hidden.npy", GRID)
    (tmp_path / "readme.txt").write_text("not a map")
    saved = saved_maps(tmp_path, images(["a.jpg"]))
    (note,) = saved.notes
    assert note == f"4 maps in {tmp_path} belong to no image of the run: p, q, r ..."


def test_bad_folders(tmp_path):
    data = images(["x/a.jpg", "b.jpg"])
    with pytest.raises(InputError, match=r"--maps .*nowhere: there is no such folder"):
        saved_maps(tmp_path / "nowhere", data)
    with pytest.raises(InputError, match="holds no maps"):
        saved_maps(tmp_path, data)
    save(tmp_path, "other.npy", GRID)
    with pytest.raises(
        InputError, match=r"any of the 2 images; looked for x/a.npy \(.npz, .png\) and a.npy"
    ):
        saved_maps(tmp_path, data)
    save(tmp_path, "b.npy", np.full((6, 8), np.nan))
    with pytest.raises(InputError, match=r"no map that can be used; x/a.jpg: no map"):
        saved_maps(tmp_path, data)
    save(tmp_path, "b.npy", GRID)
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b.jpg has two maps, .*b.npy and .*b.png; keep one"):
        saved_maps(tmp_path, data)
