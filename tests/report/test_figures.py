"""Figures are PNGs of the size their content asks for, and say when there is nothing to show."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from saliency_audit.report.figures import Cell, PanelRow, colours, draw_maps, draw_table

RNG = np.random.default_rng(0)
GREY = (220, 220, 220)


def opened(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("columns", [2, 6])
def test_size_follows_the_grid(tmp_path, rows, columns):
    cells = [Cell(RNG.standard_normal((28, 28)), "signed", "cos 0.1")] * columns
    image = opened(
        draw_maps(
            [PanelRow("gradient\nlogit", cells, "forged")] * rows,
            tmp_path / "m.png",
            title="Maps",
            columns=["map"] * columns,
        )
    )
    width = max(5.6, 2.15 + columns * 1.42)
    assert image.width == pytest.approx(120 * width, abs=1)
    assert 120 * (1.6 * rows + 0.8) < image.height < 120 * (1.6 * rows + 2)


def test_large_panels_stay_small_files(tmp_path):
    noise = [Cell(RNG.standard_normal((224, 224)), kind) for kind in ("signed", "unsigned")]
    photo = Cell(RNG.random((224, 224, 3)), "image")
    path = draw_maps(
        [PanelRow("x", [photo, *noise, photo])] * 12,
        tmp_path / "m.png",
        title="",
        columns=["c"] * 4,
    )
    assert path.stat().st_size < 1.5e6
    assert opened(path).getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((8, 8)), np.full((8, 8), 3.0), np.full((8, 8), np.nan), np.diag([1, np.inf])],
)
@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_maps_that_show_nothing_are_grey(tmp_path, pixels, kind):
    assert colours(Cell(pixels, kind)) is None
    row = PanelRow("gradient", [Cell(pixels, kind), Cell(np.zeros((8, 8)), "image")])
    image = opened(draw_maps([row], tmp_path / "m.png", title="T", columns=["a", "b"]))
    colours_seen = {colour for _, colour in image.getcolors(maxcolors=1 << 24)}
    assert GREY in colours_seen  # the undefined map
    assert (0, 0, 0) in colours_seen  # a black image is an image


def test_signed_maps_are_centred_at_zero():
    shown = colours(Cell(np.array([[0.5, 0.0, -1.0]]), "signed"))
    assert shown is not None
    red, white, blue = shown[0]
    assert white.min() > 0.95
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_one_bright_pixel_does_not_darken_the_rest():
    pixels = RNG.random((100, 100))
    expected = colours(Cell(pixels, "unsigned"))
    pixels[0, 0] = 1e6
    np.testing.assert_allclose(colours(Cell(pixels, "unsigned"))[1:], expected[1:], atol=0.05)


def test_nearly_empty_maps_are_drawn():
    pixels = np.zeros((100, 100))
    pixels[3, 4] = 1
    assert colours(Cell(pixels, "unsigned"))[3, 4].max() > 0.9


def test_names_are_not_mathematics_nor_in_the_font(tmp_path):
    name = "$x_$ 日本 " * 9
    path = draw_maps(
        [PanelRow(name, [Cell(RNG.random((4, 4)), "unsigned", name), None], "unmoved")],
        tmp_path / "m.png",
        title=name,
        columns=[name, "b"],
        footnote=name,
    )
    opened(path)


def test_table_has_the_colour_of_each_word(tmp_path):
    words = pd.DataFrame({"a": ["forged", "unmoved"], "b": ["undefined", "disturbed"]})
    words.index = ["gradient", "integrated-gradients"]
    numbers = words.replace(".+", "0.1", regex=True)
    image = opened(draw_table(numbers, words, tmp_path / "t.png", title="T", footnote="note"))
    seen = {colour for _, colour in image.getcolors(maxcolors=1 << 24)}
    assert {(242, 164, 154), (165, 214, 180), (248, 210, 139), GREY} <= seen
