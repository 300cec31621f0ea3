"""The answer of ``saliency-audit evaluate`` on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from saliency_audit.report.table import RULE, Cell, Table, Toned, marked, terminal, verdict
from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd

    from saliency_audit.commands.evaluate.columns import Column

_SHORT = {"better than random": "better", "not distinguishable": "as random"}
_OF_HALF = {"better than random": "depends", "not distinguishable": "not shown"}
"""Of what is no comparison with the random map, but with one half."""
_WIDTH, _CELL = 100, 16  # characters of a table, and of a metric's name in a line


def verdicts_shown(verdicts: "pd.DataFrame", *, width: int) -> list[RenderableType]:
    """Every method's mean of each metric with the word for it, the controls last.

    Args:
        verdicts: of the run.
        width: of the screen, characters.
    """
    lines: list[RenderableType] = []
    from saliency_audit.commands.evaluate.columns import columns, methods

    checks = list(dict.fromkeys(verdicts["check"]))
    if checks:
        lines.append(_directions(checks))
        lines.append(
            "better, as random, worse: compared with the random map on the same images"
            + (
                "; sanity-cascade: depends on the model if below 0.5, else not shown to"
                if "sanity-cascade" in checks
                else ""
            )
        )
    several = verdicts["model"].nunique() > 1
    for model, own in verdicts.groupby("model", sort=False) if len(verdicts) else ():
        names = methods(own)
        if several:
            lines.append(marked(Toned(flat(str(model)), "strong")))
        room = min(_WIDTH, width) - max(map(len, names)) - 2
        lines += [terminal(_table(names, part), apart=1) for part in _that_fit(columns(own), room)]
    return lines


def others_shown(summary: "pd.DataFrame") -> list[RenderableType]:
    """What has no verdict: measured of the model, or of maps without a better end."""
    from saliency_audit.metrics import METRICS

    rows = []
    several = summary["model"].nunique() > 1
    for line in summary.to_dict("records"):
        check, setting = str(line["check"]), str(line["setting"])
        if check not in METRICS or METRICS[check].verdict is not None:
            continue
        if METRICS[check].answer not in setting:  # a stage on the way
            continue
        of = line["saliency"] if METRICS[check].of != "model" else ""
        name = " × ".join(filter(None, (line["model"] if several else "", check, of)))
        interval = f" [{line['ci_low']:.3g}, {line['ci_high']:.3g}]" if line["n"] > 1 else ""
        undefined = f" ({line['n_undefined']} undefined)" if line["n_undefined"] else ""
        mean = f"{line['mean']:.3g}{interval}" if line["n"] else "undefined"
        rows.append((name, mean, f"{line['n']}{undefined}", setting.replace(";", "; ")))
    if not rows:
        return []
    shown = 4 if any(row[3] for row in rows) else 3
    heads = ("no verdict", "mean [95 %]", "images", "measured at")[:shown]
    table = Table(heads, [[flat(cell) for cell in row[:shown]] for row in rows])
    return [terminal(table, wrap=True, apart=1)]


def _that_fit(found: "list[Column]", room: int) -> "list[list[Column]]":
    """Metrics beside each other as far as there is room, at least one."""
    parts: list[list[Column]] = []
    left = 0
    for column in found:
        number = max(len(_number(line)) for line in column.lines.values())
        words = [_word(line) for line in column.lines.values()]
        wide = 2 + max(number + 1 + max(map(len, words)), *map(len, _head(column)))
        if not parts or wide > left:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= wide
    return parts


def _directions(checks: list[str]) -> str:
    """Which end of each metric is better."""
    from saliency_audit.commands.evaluate.columns import BETTER
    from saliency_audit.metrics import CHECKS

    told = []
    for better, words in BETTER.items():
        names = [name for name in checks if CHECKS[name].higher_is_better is better]
        if names:
            told.append(f"{', '.join(names)}: {words}")
    return "; ".join(told)


def _table(names: list[str], found: "list[Column]") -> Table:
    from saliency_audit.catalogue.methods import CONTROLS

    rows: list[Sequence[Cell]] = []
    widths = [max(len(_number(line)) for line in column.lines.values()) for column in found]
    for i, name in enumerate(names):
        if name in CONTROLS and i and names[i - 1] not in CONTROLS:
            rows.append(RULE)
        rows.append((flat(name), *map(_cell, [c.lines.get(name) for c in found], widths)))
    return Table(["", *("\n".join(_head(column)) for column in found)], rows)


def _cell(line: "dict[Any, Any] | None", width: int) -> Cell:
    if line is None:
        return ""
    number = f"{_number(line):<{width}}"
    return (number, " ", verdict(line["verdict"], _word(line))) if line["verdict"] else number


def _word(line: "dict[Any, Any]") -> str:
    """The verdict in few letters."""
    from saliency_audit.metrics import METRICS

    half = METRICS[line["check"]].verdict == "half"
    word = str(line["verdict"])
    return (_OF_HALF if half else _SHORT).get(word, word)


def _number(line: "dict[Any, Any]") -> str:
    mean = line["mean"]
    if mean != mean:
        return "-"
    return f"{mean:.2f}" if 0.1 <= abs(mean) < 10 else f"{mean:.2g}"


def _head(column: "Column") -> list[str]:
    """A metric's name in lines of at most the width of a cell, and its option."""
    lines = [""]
    for part in column.check.replace("-", "-\n").split("\n"):
        if len(lines[-1]) + len(part) > _CELL:
            lines.append("")
        lines[-1] += part
    return [*lines, *([column.option] if column.option else [])]
