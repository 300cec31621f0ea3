"""``run.json``: what was run, on what, with which versions."""

import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from saliency_audit.report.files import write_atomically

RUN = "run.json"
"""The name of the file."""

PACKAGES = (
    "saliency-audit",
    "torch",
    "torchvision",
    "captum",
    "timm",
    "safetensors",
    "numpy",
    "pandas",
    "pillow",
    "matplotlib",
)


def environment() -> dict[str, str]:
    """Versions of Python, the platform and the packages that decide the numbers.

    Packages that are not installed are left out.

    >>> environment()["python"] == platform.python_version()
    True
    """
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def plain(value: Any) -> Any:
    """What JSON can hold of a value: NaN and infinity become null, unknown objects their text.

    >>> plain({"clean accuracy": float("nan"), "size": (28, 28), "data": Path("images")})
    {'clean accuracy': None, 'size': [28, 28], 'data': 'images'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "item"):
        return plain(value.item())
    return str(value)


def run_json(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write ``run.json``, keys sorted.

    Args:
        folder: the output folder.
        facts: anything ``plain`` can turn into JSON.

    Returns:
        The file.

    Raises:
        AuditError: the file cannot be written.
    """
    text = json.dumps(plain(facts), indent=2, sort_keys=True) + "\n"
    return write_atomically(folder / RUN, text)
