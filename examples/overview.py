"""All claims of the papers that were tried here, with the verdict on each, as README.md.

python overview.py

Reads every `*-claims.csv` beside it, which the experiments' scripts write by
`saliency_audit.stats.claims`, and writes the tables into README.md between its two marks.
"""

from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import claim_cells

HERE = Path(__file__).parent
BEGIN, END = "<!-- claims -->\n", "<!-- end of claims -->"
TITLES = {
    "paper-0-density": "P0: what a network's gradients say of the density of images",
    "paper-1-sparse": "P1: sparse maps by adversarial training (and the objectives of all papers)",
    "paper-2-relex": "P2: RelEx, a mask that holds still",
    "paper-3-adversarial-training": "P3: adversarial training and gradients that say more",
    "paper-4-interpretation": "P4: maps that are regularised, and robustness",
}

MINUTES = {  # of one CPU core, as run
    "paper-0-density/figures": 15,
    "paper-0-density/samples": 28,
    "paper-0-density/sweep": 11,
    "paper-1-sparse/cascade": 4,
    "paper-1-sparse/objectives": 55,
    "paper-1-sparse/random_labels": 8,
    "paper-1-sparse/sparsification": 30,
    "paper-2-relex/evidence": 15,
    "paper-2-relex/deletion": 60,
    "paper-2-relex/robustness": 60,
    "paper-3-adversarial-training/manifold": 5,
    "paper-3-adversarial-training/roar": 11,
    "paper-3-adversarial-training/tilt": 5,
    "paper-4-interpretation/cifar": 108,
    "paper-4-interpretation/mnist": 75,
}


def tables() -> dict[str, pd.DataFrame]:
    """Rows of `claims_table` by path of the file, in the order of the folders."""
    return {
        path.relative_to(HERE).as_posix(): pd.read_csv(path)
        for path in sorted(HERE.glob("*/*-claims.csv"))
    }


def tally(rows: pd.DataFrame) -> str:
    """How many claims have each verdict."""
    of = rows["verdict"].value_counts()
    return ", ".join(f"{of.get(word, 0)} {word}" for word in ("agrees", "not shown", "contradicts"))


def markdown(found: dict[str, pd.DataFrame]) -> str:
    """One table for each paper: claim, its number, ours, verdict and what it took."""
    lines = [f"All: {tally(pd.concat(found.values()))}.", ""]
    for folder, title in TITLES.items():
        own = {path: rows for path, rows in found.items() if path.startswith(f"{folder}/")}
        if not own:
            continue
        lines += [f"### {title}", "", f"{tally(pd.concat(own.values()))}.", ""]
        lines += ["| experiment | claim | paper | ours [95 %] | n | verdict | minutes |"]
        lines += ["|---" * 7 + "|"]
        for path, rows in own.items():
            page, took = path.replace("-claims.csv", ".md"), path.removesuffix("-claims.csv")
            for line in rows.to_dict("records"):
                cells = [f"[{line['experiment']}]({page})", line["claim"], *claim_cells(line)]
                lines.append(f"| {' | '.join(cells)} | {MINUTES[took]} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Write README.md anew."""
    page = HERE / "README.md"
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{markdown(tables())}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
