"""One hostile picture is one row; the others are read, and nothing hangs or fills the memory."""

import numpy as np
import pytest
import torch

from saliency_audit.data import batches, open_data
from saliency_audit.data.images import open_picture
from tests import hostile

SHAPE = (1, 8, 8)
PICTURES = {
    **hostile.IRREGULAR,
    hostile.png_bomb: "decompression bomb",
    hostile.png_text_bomb: "Decompressed data too large",
    hostile.png_of_gigabytes: r"the file has 2,147,483,648 bytes; a picture has at most",
    hostile.tiff_tile_bomb: "its tiles are 32768x65536 pixels",
    hostile.eps: "not a picture, or of a kind that is not read",
}


@pytest.mark.parametrize(
    ("make", "message"), PICTURES.items(), ids=[make.__name__ for make in PICTURES]
)
def test_one_hostile_picture_is_one_row(tmp_path, make, message):
    for name in ("a.png", "c.png"):
        hostile.picture(tmp_path / name)
    make(tmp_path / "b.png")
    (tmp_path / "all.csv").write_text("path,label\na.png,0\nb.png,1\nc.png,2\n")
    (batch,) = batches(open_data(str(tmp_path / "all.csv"), input_shape=SHAPE), batch_size=3)
    assert batch.names == ["a.png", "c.png"]
    (failure,) = batch.failures
    assert (failure.name, failure.label) == ("b.png", 1)
    with pytest.raises(pytest.fail.Exception, match=message):
        pytest.fail(failure.message)
    assert "\n" not in failure.message


@pytest.mark.parametrize("make", [hostile.pipe, hostile.endless, hostile.plugged])
def test_pictures_are_not_left_out_for_what_they_are(tmp_path, make):
    hostile.picture(tmp_path / "a.png")
    make(tmp_path / "b.png")
    (batch,) = batches(open_data(str(tmp_path), input_shape=SHAPE), batch_size=3)
    assert batch.names == ["a.png"]
    assert [failure.name for failure in batch.failures] == ["b.png"]


def test_a_link_to_a_picture_is_a_picture(tmp_path):
    hostile.picture(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("a.png")
    with open_picture(tmp_path / "b.png") as image:
        assert image.size == (8, 8)


def test_a_tiled_tiff_is_read(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(16, 16))
    with open_picture(tmp_path / "a.tif") as image:
        assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("error", [MemoryError, RecursionError, OverflowError, ZeroDivisionError])
@pytest.mark.parametrize("workers", [0, 1])
def test_whatever_one_picture_raises_is_its_row(tmp_path, monkeypatch, error, workers):
    hostile.picture(tmp_path / "a.png")
    hostile.picture(tmp_path / "b.png", size=9)
    data = open_data(str(tmp_path), input_shape=SHAPE)

    def fail(preparation, image):
        raise error

    monkeypatch.setattr("saliency_audit.data.images.Preparation.fit", fail)
    (batch,) = batches(data, batch_size=2, workers=workers)
    assert batch.names == ["a.png"]
    assert torch.isfinite(batch.images).all()
    assert batch.failures[0].message in ("not enough memory", error.__name__)
