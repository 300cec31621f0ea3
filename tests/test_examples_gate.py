"""The example's CI files run as they stand: their own commands, in the folder they expect."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copyfile

import pandas as pd
import pytest
import yaml
from PIL import Image
from safetensors.torch import save_file

from saliency_audit.assets import bundled_images, bundled_model

EXAMPLE = Path(__file__).parent.parent / "examples" / "gate-a-release"


NETWORK = """from torch import nn

from saliency_audit.assets import FashionMnistCnn


class build(nn.Module):
    \"""The bundled network as one of images that are normalised as the policy says.\"""

    def __init__(self):
        super().__init__()
        self.inner = FashionMnistCnn()

    def forward(self, images):
        return self.inner(images * 0.3081 + 0.1307)
"""


def read(name):
    return yaml.safe_load((EXAMPLE / name).read_text("utf-8"))


@pytest.fixture
def project(tmp_path):
    """What the CI files expect: weights, a module with the architecture, images, the policy."""
    weights = {f"inner.{name}": value for name, value in bundled_model().state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "models.py").write_text(NETWORK)
    images, labels, _ = bundled_images("test")
    for label in range(10):
        folder = tmp_path / "validation" / str(label)
        folder.mkdir(parents=True)
        for i in range(4):
            Image.fromarray(images[labels == label][i]).save(folder / f"{i}.png")
    copyfile(EXAMPLE / "policy.toml", tmp_path / "policy.toml")
    return tmp_path


def shell(command, project, **variables):
    """Run a line of a CI file as its server does; the program is that of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=project,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
    )


def test_the_workflow_runs_as_it_stands(project):
    workflow = read("github-workflow.yml")
    steps = {step.get("name"): step for step in workflow["jobs"]["gate"]["steps"]}
    page = project / "page.md"
    ran = shell(steps["Gate"]["run"], project, **workflow["env"], GITHUB_STEP_SUMMARY=str(page))
    # The policy is of a network for MNIST; this one's maps of Fashion-MNIST do not pass one check.
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "refused: 1 of 7 checks did not pass: deletion" in ran.stdout
    assert "saliency-audit gate: refused" in page.read_text("utf-8")
    uploaded = project / steps["Report"]["with"]["path"]
    assert {"report.html", "junit.xml", "results.csv"} <= {path.name for path in uploaded.iterdir()}
    table = pd.read_csv(uploaded / "checks.csv")
    assert len(table) == 7
    assert list(table["effect"]).count("refuse") == 1


def test_the_gitlab_job_says_the_same(project):
    job = read("gitlab-ci.yml")["release-gate"]
    workflow = read("github-workflow.yml")
    step = next(s for s in workflow["jobs"]["gate"]["steps"] if s.get("name") == "Gate")
    assert job["script"] == [" ".join(step["run"].replace("\\\n", " ").split())]
    assert job["variables"] == workflow["env"]
    assert job["before_script"] == [
        s["run"] for s in workflow["jobs"]["gate"]["steps"] if s.get("name") == "Install"
    ]
    report = job["artifacts"]["reports"]["junit"]
    assert report.startswith(job["artifacts"]["paths"][0])
