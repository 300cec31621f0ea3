"""What people marked, in the geometry of the model's input."""

import numpy as np
import pytest
import torch
from PIL import Image

from saliency_audit.data import from_tensors, open_data, read_annotations
from saliency_audit.errors import InputError

SHAPE = (3, 20, 20)


@pytest.fixture
def data(tmp_path):
    """Three pictures of different proportions."""
    folder = tmp_path / "images"
    (folder / "x").mkdir(parents=True)
    (folder / "y").mkdir()
    for name, size in (("x/a.png", (60, 40)), ("x/b.png", (40, 80)), ("y/c.png", (20, 20))):
        Image.new("RGB", size).save(folder / name)
    return open_data(str(folder), input_shape=SHAPE, resize=20)


@pytest.fixture
def boxes(tmp_path):
    def write(text):
        path = tmp_path / "boxes.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


HEADER = "path,xmin,ymin,xmax,ymax\n"


def test_boxes_by_hand(data, boxes):
    # a: 60x40, scaled by 1/2 to 30x20, and 5 columns cropped from either side.
    # b: 40x80, scaled by 1/2 to 20x40, and 10 rows cropped from either side.
    place = boxes(
        HEADER
        + "x/a.png,10,0,30,20\nx/a.png,40,30,50,40\n"
        + "x/b.png,0,0,20,30\ny/c.png,3,4,5,8\n"
    )
    annotations = read_annotations(place, data)
    masks = annotations.read(["x/a.png", "x/b.png", "y/c.png"])
    expected = torch.zeros(3, 20, 20)
    expected[0, 0:10, 0:10] = 1
    expected[0, 15:20, 15:20] = 1
    expected[1, 0:5, 0:10] = 1
    expected[2, 4:8, 3:5] = 1
    assert masks.dtype == torch.float32
    assert torch.equal(masks, expected)
    assert annotations.notes == []


@pytest.mark.parametrize("size", [(300, 200), (57, 133), (50, 50), (25, 21)])
def test_a_box_moves_as_the_picture_does(tmp_path, boxes, size):
    width, height = size
    left, top = width // 3, height // 4
    corners = (left, top, left + width // 3, top + height // 2)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[corners[1] : corners[3], corners[0] : corners[2]] = 255
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    data = open_data(str(tmp_path / "images"), input_shape=SHAPE)
    place = boxes(HEADER + f"a.png,{','.join(map(str, corners))}\n")
    mask = read_annotations(place, data).read(["a.png"])[0]
    image = data[0].image[0]
    clear = (image - 0.5).abs() > 0.01
    assert clear.float().mean() > 0.9
    assert torch.equal(mask[clear], (image[clear] >= 0.5).float())


def test_fractions_clipping_and_other_columns(data, boxes):
    place = boxes(
        "class, path ,xmin,ymin,xmax,ymax,note\n"
        'dog,c.png,2.4,-3,4.6,2.5,"a, b"\n'
        "dog,./y/c.png,10.2,10.2,10.4,10.3,\n"
        "dog,elsewhere.png,0,0,5,5,\n"
    )
    annotations = read_annotations(place, data)
    mask = annotations.read(["y/c.png"])[0]
    # With and without its folder, the picture is the same, but the name with folders comes first.
    expected = torch.zeros(20, 20)
    expected[10, 10] = 1
    assert torch.equal(mask, expected)
    place = boxes(HEADER + "c.png,2.4,-3,4.6,2.5\n")
    annotations = read_annotations(place, data)
    expected = torch.zeros(20, 20)
    expected[0:2, 2:5] = 1
    assert torch.equal(annotations.read(["y/c.png"])[0], expected)
    assert "1 boxes reach beyond their image" in annotations.notes[-1]
    assert annotations.notes[-1].endswith("boxes.csv line 2")


def test_images_without_boxes_and_boxes_without_images(data, boxes):
    place = boxes(HEADER + "x/a.png,20,0,30,20\nno.png,0,0,1,1\nx/b.png,0,0,40,15\n")
    annotations = read_annotations(place, data)
    masks = annotations.read(["y/c.png", "x/a.png", "x/b.png"])
    assert masks.isnan().all((1, 2)).tolist() == [True, False, True]
    assert annotations.notes == [
        "2 of 3 images have no annotation, and what needs one is undefined there: x/b.png, y/c.png",
        "nothing is marked on what the model sees of 1 images (after the crop): x/b.png",
        f"1 paths in {place} belong to no image of the run: no.png",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,xmin,ymin,xmax\n", "has no column ymax; its first line names path, xmin"),
        ("file,x,y,w,h\n", "no column path and no column xmin"),
        (HEADER, "holds no boxes"),
        (HEADER + "x/a.png,0,0,5,5\nx/a.png,1,2,b,4\n", "line 3: xmax is 'b'; give a number"),
        (HEADER + "x/a.png,0,0,inf,5\n", "line 2: xmax is 'inf'"),
        (HEADER + "x/a.png,5,0,5,5\n", "line 2: xmax is 5 and xmin is 5; xmax must be the larger"),
        (HEADER + "no.png,5,9,7,8\n", "line 2: ymax is 8 and ymin is 9"),
        (HEADER + "x/a.png,1,2,3\n", "line 2 has 4 values but there are 5 columns"),
        (HEADER + "x/a.png,60,0,70,5\n", "line 2: the box from .* outside of x/a.png, which is 60"),
        (HEADER + "x/a.png,0,-5,5,0\n", "line 2: .* 60 pixels wide and 40 high"),
        (HEADER + "no.png,0,0,5,5\n", "none for any of the 3 images, such as x/a.png; it has 1"),
        (HEADER + "x/b.png,0,0,40,15\n", "nothing is marked on what the model sees of x/b.png"),
    ],
)
def test_bad_boxes(data, boxes, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_annotations(boxes(text), data)
    assert "\n" not in str(caught.value)


def test_bad_places(data, tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist; give a folder of maps, or a"):
        read_annotations(tmp_path / "nowhere", data)
    (tmp_path / "boxes.txt").write_text("x")
    with pytest.raises(InputError, match=r"boxes.txt is no .csv file"):
        read_annotations(tmp_path / "boxes.txt", data)
    (tmp_path / "marks").mkdir()
    with pytest.raises(InputError, match=r"--annotations .*marks holds no maps"):
        read_annotations(tmp_path / "marks", data)


def test_maps_of_the_models_size_are_untouched_and_others_lie_over_the_picture(data, tmp_path):
    rng = np.random.default_rng(0)
    exact = rng.random((20, 20)).astype(np.float32)
    whole = rng.random((80, 40)).astype(np.float32)
    coarse = rng.random((4, 6)).astype(np.float32)
    place = tmp_path / "marks"
    (place / "x").mkdir(parents=True)
    np.save(place / "x" / "b.npy", whole)
    np.save(place / "c.npy", exact[None])
    np.save(place / "x" / "a.npy", coarse[None])
    annotations = read_annotations(place, data)
    a, b, c = annotations.read(["x/a.png", "x/b.png", "y/c.png"])
    assert torch.equal(c, torch.from_numpy(exact))
    scaled = np.array(Image.fromarray(whole).resize((20, 40), Image.Resampling.BILINEAR))
    assert np.array_equal(b.numpy(), scaled[10:30])
    over = Image.fromarray(coarse).resize((60, 40), Image.Resampling.BILINEAR)
    scaled = np.array(over.resize((30, 20), Image.Resampling.BILINEAR))
    assert np.array_equal(a.numpy(), scaled[:, 5:25])
    assert annotations.notes == []


def test_a_map_moves_as_the_picture_does(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (90, 130), np.uint8)
    for name in ("images", "marks"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.repeat(pixels[..., None], 3, 2)).save(tmp_path / name / "a.png")
    data = open_data(str(tmp_path / "images"), input_shape=(3, 32, 48))
    mark = read_annotations(tmp_path / "marks", data).read(["a.png"])[0]
    # The picture is rounded to 8 bits after each axis, the map is not.
    assert (mark - data[0].image[0]).abs().max() < 1.01 / 255


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.full((20, 20), -1.0), "a.npy has values below 0"),
        (np.full((20, 20), np.nan), "a.npy holds NaN"),
        (np.zeros((20, 20, 2)), r"a.npy has shape \(20, 20, 2\)"),
        (np.zeros((20, 20)), "nothing is marked"),
    ],
)
def test_bad_maps_are_noted(data, tmp_path, content, reason):
    place = tmp_path / "marks"
    place.mkdir()
    np.save(place / "a.npy", content)
    with pytest.raises(InputError, match=reason):
        read_annotations(place, data)
    np.save(place / "b.npy", np.ones((80, 40)))
    annotations = read_annotations(place, data)
    masks = annotations.read(["x/a.png", "x/b.png"])
    assert masks.isnan().all((1, 2)).tolist() == [True, False]
    with pytest.raises(pytest.fail.Exception, match=reason):
        pytest.fail(" ".join(annotations.notes))


def test_two_maps_for_one_image(data, tmp_path):
    place = tmp_path / "marks"
    place.mkdir()
    np.save(place / "a.npy", np.ones((20, 20)))
    np.savez(place / "a.npz", np.ones((20, 20)))
    with pytest.raises(InputError, match=r"x/a.png has two maps"):
        read_annotations(place, data)


def test_images_that_cannot_be_opened(data, boxes, tmp_path):
    (tmp_path / "images" / "x" / "a.png").write_bytes(b"")
    place = boxes(HEADER + "x/a.png,0,0,5,5\ny/c.png,3,4,5,8\n")
    annotations = read_annotations(place, data)
    assert annotations.read(["x/a.png"]).isnan().all()
    assert "1 annotations" in annotations.notes[1]
    assert "that of x/a.png: not a picture" in annotations.notes[1]


def test_images_in_memory_and_chosen_ones(boxes):
    data = open_data("bundled:fashion-mnist", input_shape=(1, 14, 14), resize=14, max_samples=3)
    place = boxes(HEADER + f"{data.names[2]},0,0,14,28\n")
    mask = read_annotations(place, data).read([data.names[2]])[0]
    expected = torch.zeros(14, 14)
    expected[:, :7] = 1
    assert torch.equal(mask, expected)

    held = from_tensors(torch.rand(2, 2, 5, 7), names=["p", "q"])
    place = boxes(HEADER + "q,1,2,3,4\n")
    mask = read_annotations(place, held).read(["p", "q"])
    assert mask[0].isnan().all()
    expected = torch.zeros(5, 7)
    expected[2:4, 1:3] = 1
    assert torch.equal(mask[1], expected)


def test_positions_of_chosen_images(tmp_path, boxes):
    (tmp_path / "images").mkdir()
    for i in range(9):
        Image.new("RGB", (20 + 4 * i, 20)).save(tmp_path / "images" / f"{i}.png")
    data = open_data(str(tmp_path / "images"), input_shape=SHAPE, resize=20, max_samples=3)
    place = boxes(HEADER + "".join(f"{i}.png,0,0,{10 + 2 * i},20\n" for i in range(9)))
    masks = read_annotations(place, data).read(data.names)
    # The left half of each picture, whatever its width.
    assert torch.equal(
        masks, torch.cat([torch.ones(20, 10), torch.zeros(20, 10)], 1).repeat(3, 1, 1)
    )
