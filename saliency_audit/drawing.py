"""Matplotlib as it comes: whoever imports this module first has it draw alike in every folder.

Matplotlib reads its settings once, when it is imported: from a file ``matplotlibrc`` in the working
folder before all others, then from ``$MATPLOTLIBRC`` and the user's own. They change every picture,
and one that is no text ends the run. The only place that it prefers to all of them is a working
folder, so it is imported in the one where its own defaults are.
"""

import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def _own_settings() -> Iterator[None]:
    """Inside, Matplotlib finds no settings but its own."""
    spec = find_spec("matplotlib")
    defaults = Path(spec.origin if spec and spec.origin else ".").with_name("mpl-data")
    hidden = {name: os.environ.pop(name, None) for name in ("MATPLOTLIBRC", "MPLBACKEND")}
    try:
        if not (defaults / "matplotlibrc").is_file():
            yield
            return
        with chdir(defaults):
            yield
    finally:
        os.environ.update({name: value for name, value in hidden.items() if value is not None})


with _own_settings():
    import_module("matplotlib")
