"""Figures are PNGs of the size their content asks for, and say when there is nothing to show."""

import numpy as np
import pytest
from PIL import Image

from saliency_audit.report import figures
from saliency_audit.report.figures import PanelRow, Tile, colours, draw_maps, draw_table
from saliency_audit.report.page import SIGNED, UNSIGNED, figure_of
from saliency_audit.report.table import RULE, Table, Toned, verdict

RNG = np.random.default_rng(0)
GREY = (220, 220, 220)


def opened(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.convert("RGB")


@pytest.mark.parametrize("rows", [1, 12])
@pytest.mark.parametrize("columns", [2, 6])
def test_size_follows_the_grid(tmp_path, rows, columns):
    cells = [Tile(RNG.standard_normal((28, 28)), "signed", "cos 0.1")] * columns
    (path,) = draw_maps(
        [PanelRow("gradient\nlogit", cells, "forged")] * rows,
        tmp_path,
        "m",
        title="Maps",
        columns=["map"] * columns,
    )
    image = opened(path)
    width = max(5.6, 1.9 + columns * 1.42)
    assert image.width == pytest.approx(120 * width, abs=1)
    assert 120 * (1.6 * rows + 0.8) < image.height < 120 * (1.6 * rows + 2)


def test_many_rows_take_several_pages_with_the_first_row_on_each(tmp_path):
    first = PanelRow("image", [Tile(RNG.random((4, 4)), "image")])
    rows = [PanelRow("x", [Tile(RNG.random((4, 4)), "unsigned")])] * 13
    pages = draw_maps(rows, tmp_path, "m", title="T", columns=["a"], first=first)
    assert [path.name for path in pages] == ["m.png", "m-2.png"]
    assert draw_maps([], tmp_path, "none", title="T", columns=["a"]) == []


def test_large_panels_stay_small_files(tmp_path):
    noise = [Tile(RNG.standard_normal((224, 224)), kind) for kind in ("signed", "unsigned")]
    photo = Tile(RNG.random((224, 224, 3)), "image")
    (path,) = draw_maps(
        [PanelRow("x", [photo, *noise, photo])] * 12, tmp_path, "m", title="", columns=["c"] * 4
    )
    assert path.stat().st_size < 1.5e6
    assert opened(path).getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((8, 8)), np.full((8, 8), 3.0), np.full((8, 8), np.nan), np.diag([1, np.inf])],
)
@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_maps_that_show_nothing_are_grey(tmp_path, pixels, kind):
    assert colours(Tile(pixels, kind)) is None
    row = PanelRow("gradient", [Tile(pixels, kind), Tile(np.zeros((8, 8)), "image")])
    image = opened(draw_maps([row], tmp_path, "m", title="T", columns=["a", "b"])[0])
    colours_seen = {colour for _, colour in image.getcolors(maxcolors=1 << 24)}
    assert GREY in colours_seen  # the undefined map
    assert (0, 0, 0) in colours_seen  # a black image is an image


def test_signed_maps_are_centred_at_zero():
    shown = colours(Tile(np.array([[0.5, 0.0, -1.0]]), "signed"))
    assert shown is not None
    red, white, blue = shown[0]
    assert white.min() > 0.95
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_one_bright_pixel_does_not_darken_the_rest():
    pixels = RNG.random((100, 100))
    expected = colours(Tile(pixels, "unsigned"))
    pixels[0, 0] = 1e6
    np.testing.assert_allclose(colours(Tile(pixels, "unsigned"))[1:], expected[1:], atol=0.05)


def test_nearly_empty_maps_are_drawn():
    pixels = np.zeros((100, 100))
    pixels[3, 4] = 1
    assert colours(Tile(pixels, "unsigned"))[3, 4].max() > 0.9


def test_names_are_not_mathematics_nor_in_the_font(tmp_path):
    name = "$x_$ 日本 " * 9
    (path,) = draw_maps(
        [PanelRow(name, [Tile(RNG.random((4, 4)), "unsigned", name), None], "unmoved")],
        tmp_path,
        "m",
        title=name,
        columns=[name, "b"],
        footnote=name,
    )
    opened(path)


def table(columns=2):
    words = ("forged", "unmoved", "undefined", "disturbed")
    rows = [[word, *[("0.1 ", verdict(word))] * columns] for word in words]
    return Table(["", *map(str, range(columns))], [*rows, RULE, [Toned("heading", "strong")]])


def test_table_has_the_colour_of_each_word(tmp_path):
    (path,) = draw_table(table(), tmp_path, "t", title="T", footnote="note")
    seen = {colour for _, colour in opened(path).getcolors(maxcolors=1 << 24)}
    assert {(242, 164, 154), (165, 214, 180), (248, 210, 139), GREY} <= seen


def test_wide_and_long_tables_take_several_pages(tmp_path):
    drawn = draw_table(table(7), tmp_path, "t", title="T", across=4, most=3)
    assert [path.name for path in drawn] == ["t.png", "t-2.png", "t-3.png", "t-4.png"]


def test_groups_of_rows_are_whole_on_a_page(tmp_path, monkeypatch):
    drawn = []
    picture = figures._picture
    monkeypatch.setattr(
        figures, "_picture", lambda table, **how: drawn.append(table) or picture(table, **how)
    )
    methods = ("gradient", "gradcam", "lrp", "occlusion")
    rows = [
        row
        for method in methods
        for row in ([method, "logit"], ["", "log-prob"], ["", "loss"], RULE)
    ]
    paths = draw_table(
        Table(["saliency", "scalar"], rows, labels=2), tmp_path, "t", title="T", most=7
    )
    assert [path.name for path in paths] == ["t.png", "t-2.png"]
    assert [[row[0] for row in table.rows if row[0]] for table in drawn] == [
        ["gradient", "gradcam"],
        ["lrp", "occlusion"],
    ]


def test_long_reasons_go_on_in_another_line():
    reason = "no derivative that an attack could follow, " * 3
    assert figures._cut(reason).replace("\n", " ") == reason.strip()
    assert max(map(len, figures._cut(reason).split("\n"))) <= 50


def test_rows_on_a_later_page_keep_their_heading():
    pages = [[["topk"], ["  a", "1"]], [["  b", "2"], ["alone", "3"]], [["other", "4"]]]
    told = figures._under_headings(pages)
    assert told == [pages[0], [["topk"], *pages[1]], pages[2]]


def test_numbers_are_shaded(tmp_path):
    (path,) = draw_table(
        Table(["", "a"], [["x", "0.5"]]), tmp_path, "t", title="T", shade=lambda text: "#123456"
    )
    assert (18, 52, 86) in {colour for _, colour in opened(path).getcolors(maxcolors=1 << 24)}


def test_what_is_laid_out_keeps_clear_of_its_title_and_note():
    figure = figure_of(
        6,
        3,
        title="Which map tells? " * 8,
        footnote="Means over images. " * 12,
        layout="constrained",
    )
    axes = figure.add_subplot(xlabel="share")
    figure.draw_without_rendering()
    drawn, title, note = (
        part.get_tightbbox()
        for part in (axes, *sorted(figure.texts, key=lambda text: -text.get_position()[1]))
    )
    assert note.y1 <= drawn.y0
    assert drawn.y1 <= title.y0


SKEWED = np.array([[-2.0, -0.5, 0.0, 0.25, 1.0]])


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("minmax", [1.0, 0.25, 0.0, 0.125, 0.5]),
        ("none", [0.0, 0.0, 0.0, 0.25, 1.0]),
    ],
)
def test_views_of_magnitudes_are_those_of_the_papers(view, shown):
    """P2's scaling from the least to the largest magnitude, and masks as they are."""
    tile = Tile(SKEWED, "signed", view=view)
    np.testing.assert_allclose(colours(tile), UNSIGNED(np.array([shown]))[..., :3])


def test_the_99th_percentile_is_where_a_map_ends():
    """One pixel of a thousand is beyond it, and shown like the one at it."""
    pixels = np.linspace(0, 1, 1000).reshape(20, 50)
    pixels[-1, -1] = 100.0
    cut = np.percentile(pixels, 99)
    expected = UNSIGNED(np.clip(pixels / cut, 0, 1))[..., :3]
    np.testing.assert_allclose(colours(Tile(pixels, "signed", view="percentile99")), expected)
    assert (colours(Tile(pixels, "signed", view="minmax"))[:-1] < expected[:-1]).any()


def test_the_symmetric_view_cuts_each_sign_at_its_own_percentile():
    """P3's: percentiles 0.5 and 99.5 of signed values; zero stays white."""
    pixels = np.concatenate([np.linspace(-1, 0, 500), np.linspace(0, 0.5, 500)]).reshape(20, 50)
    low, high = np.percentile(pixels, [0.5, 99.5])
    expected = SIGNED((np.clip(pixels, low, high) / -low + 1) / 2)[..., :3]
    np.testing.assert_allclose(colours(Tile(pixels, "signed", view="symmetric")), expected)


@pytest.mark.parametrize(
    ("view", "ends"),
    [
        ("", ["negative", "0", "positive"]),
        ("symmetric", ["negative", "0", "positive"]),
        ("minmax", ["least", "largest"]),
        ("percentile99", ["least", "99th percentile"]),
        ("none", ["0 or less", "1 or more"]),
    ],
)
def test_the_bar_says_what_the_colours_of_a_view_mean(tmp_path, monkeypatch, view, ends):
    drawn = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure) or path)
    row = PanelRow("gradient", [Tile(SKEWED, "signed", view=view)])
    draw_maps([row], tmp_path, "m", title="T", columns=["a"])
    bar = drawn[0].axes[-1]
    assert [text.get_text() for text in bar.get_xticklabels()] == ends
    assert ("own range" in bar.get_xlabel()) == (view != "none")
