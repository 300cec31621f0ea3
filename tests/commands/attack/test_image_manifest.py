"""The list of attacked images is data that every command can read."""

from PIL import Image

from saliency_audit.commands.attack.image_manifest import write_image_manifest
from saliency_audit.data import open_data
from tests.commands.attack.attack_run import attack_run

TOPK = "attack=topk;eps=2/255;attacked=gradient"


def test_manifest_lists_what_was_made_and_reads_back(tmp_path):
    run = attack_run(images=("a, 1.png", "b.png"), attacks=("topk", "worst-case"), pgd=True, side=8)
    rows = run.results.astype({"label": object})
    rows.loc[rows["image"] == "b.png", "label"] = None
    rows.loc[rows["setting"] == TOPK, "status"] = "undefined"
    files = {}

    def file_of(image, setting, scalar):
        return files.setdefault((image, setting, scalar), f"{len(files)}, {image}")

    path = write_image_manifest(tmp_path, rows, file_of=file_of, goals={"topk": "topk"}, seed=7)
    assert path == tmp_path / "images" / "manifest.csv"
    for name in files.values():
        Image.new("L", (8, 8)).save(path.parent / name)
    data = open_data(str(path), input_shape=(1, 8, 8))
    assert data.names == list(files.values())
    assert data.labels.tolist() == [3] * 4 + [-1] * 4
    # Both methods at 8/255, smoothgrad alone at 2/255 where gradient is undefined, pgd.
    extras = [data.extras[name] for name in data.names]
    assert [(e["attack"], e["saliency"], e["eps"]) for e in extras[:4]] == [
        ("topk", "smoothgrad", "2/255"),
        ("topk", "gradient", "8/255"),
        ("topk", "smoothgrad", "8/255"),
        ("pgd", "", "8/255"),
    ]
    assert extras[1] == {
        "image": "a, 1.png",
        "attack": "topk",
        "goal": "topk",
        "saliency": "gradient",
        "scalar": "logit",
        "eps": "8/255",
        "seed": "7",
    }
    assert extras[3]["goal"] == ""


def test_manifest_of_nothing(tmp_path):
    run = attack_run(attacks=())
    path = write_image_manifest(tmp_path, run.results, file_of=str.join, goals={}, seed=0)
    assert path.read_text() == "path,label,image,attack,goal,saliency,scalar,eps,seed\n"
