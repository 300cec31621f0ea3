"""``python -m saliency_audit``."""

import os
import sys


def _leave_working_folder() -> None:
    """Take the working folder off the path, as it is for the console script.

    ``python -m`` puts it first, where a file of the user's called ``random.py`` or ``torch.py``
    would stand for the library. It stays where this package itself lies in it: in a checkout.
    """
    own = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # it was removed
        here = ""
    if own != here and sys.path and os.path.realpath(sys.path[0] or here) == here:
        del sys.path[0]


if __name__ == "__main__":
    _leave_working_folder()
    from saliency_audit.cli import main

    main()
