"""What a user can set of ``gate``."""

from saliency_audit.commands.options import ARGUMENT, OF_MAPS, OF_MODEL, OF_RUN, of_images
from saliency_audit.options import Option

OPTIONS = (
    ARGUMENT,
    Option(
        "policy",
        "path",
        shown=False,
        common=True,
        help="TOML file with the checks; without it, a default one.",
    ),
    Option(
        "baseline",
        "path",
        shown=False,
        common=True,
        help='summary.csv of an earlier run, for checks with no_worse_than = "baseline".',
    ),
    Option(
        "print_policy",
        "flag",
        default=False,
        common=True,
        help="Print the default policy, with reasons, and stop.",
    ),
    Option(
        "report_only",
        "flag",
        default=False,
        common=True,
        help="Exit with 0 even if the model is refused.",
    ),
    *OF_MAPS,
    *of_images(64),
    *OF_MODEL,
    *OF_RUN,
)
