"""The answer of ``saliency-audit fool`` on the terminal."""

from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from saliency_audit.commands.fool.tables import aims_in, short_name, verdict_table
from saliency_audit.commands.fool.verdict import why_not_forged
from saliency_audit.report.table import least, parts, terminal

if TYPE_CHECKING:
    import pandas as pd


def shown(
    verdicts: "pd.DataFrame", promises: "pd.DataFrame", *, width: int
) -> list[RenderableType]:
    """What each trick did to the model, and the verdicts as a table, or as several."""
    lines: list[RenderableType] = []
    for trick, group in promises.groupby("trick", sort=False):
        worst = {line["check"]: line for _, line in group.iterrows()}
        lines.append(f"{short_name(str(trick))}: " + ", ".join(map(_promise, worst.values())))
    wanted = aims_in(verdicts["trick"])
    table = verdict_table(verdicts, why_not_forged(promises))
    tables = parts(table, width - 1, columns=[own + 1 for own in least(table)])
    return [*lines, *wanted, "", *(terminal(table, width=width) for table in tables)]


def _promise(line: "pd.Series[Any]") -> str:
    check, worst, bound = line["check"], line["worst"], line["bound"]
    if line["reason"]:
        return f"{check} undefined ({line['reason']})"
    if check == "prediction-kept":
        return f"predictions kept on {'every' if worst == 1 else 'not every'} image"
    if check == "accuracy-drop":
        return (
            f"accuracy {-100 * worst:+.1f} points on {line['n']} training images held out "
            f"(bound -{100 * bound:g})"
        )
    return f"{check} at most {worst:.1e} (bound {bound:.1e})"
