"""The answer of ``saliency-audit evaluate`` on the terminal."""

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.evaluate.tables import others_table, told, verdict_tables
from saliency_audit.report.table import Toned, marked, parts, terminal

if TYPE_CHECKING:
    import pandas as pd

_WIDTH = 100  # characters of a table


def verdicts_shown(verdicts: "pd.DataFrame", *, width: int) -> list[RenderableType]:
    """Every method's mean of each metric with the word for it, the controls last.

    Args:
        verdicts: of the run.
        width: of the screen, characters.
    """
    from saliency_audit.metrics import CHECKS

    lines: list[RenderableType] = [*told(verdicts, CHECKS)]
    for table in verdict_tables(verdicts):
        if table.title:
            lines.append(marked(Toned(table.title, "strong")))
        room = min(_WIDTH, width)
        lines += [
            terminal(part, width=room, apart=2) for part in parts(replace(table, title=""), room)
        ]
    return lines


def others_shown(
    summary: "pd.DataFrame", results: "pd.DataFrame", *, width: int
) -> list[RenderableType]:
    """What has no verdict: measured of the model, or of maps without a better end."""
    from saliency_audit.metrics import CHECKS, METRICS
    from saliency_audit.stats.undefined import with_reasons

    shown = {name: m for of, m in METRICS.items() for name in (of, *m.controls)}
    lines = [
        line | ({"saliency": ""} if metric.of == "model" else {})
        for line in with_reasons(summary, results).to_dict("records")
        # Others are stages on the way.
        if (metric := shown.get(str(line["check"])))
        and metric.verdict is None
        and metric.answer in str(line["setting"])
    ]
    tables = others_table(lines, CHECKS, several=summary["model"].nunique() > 1)
    return [terminal(table, width=width, apart=2) for table in tables]
