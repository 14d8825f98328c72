"""Print the table of README.md out of a comparison and a benchmark.

python runs/trec-dl/make_table.py runs/trec-dl/figures.json runs/trec-dl/speeds.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MEASURES = ("nDCG@10", "RR@10")
HEADER = ("model", *MEASURES, "p (nDCG@10)", "million parameters", "pairs/s", "times BERT-Base")


def main(figures_file: str, speeds_file: str) -> None:
    """Print Markdown, best first; p is that of the paired t-test against the baseline, corrected by Holm's method."""
    runs = json.loads(Path(figures_file).read_text(encoding="utf-8"))["runs"]
    measured = json.loads(Path(speeds_file).read_text(encoding="utf-8"))["models"]
    speeds = {Path(row["model"]).name: row for row in measured if not row["error"]}
    base = speeds["12x768"]["pairs_per_second"]
    lines = [HEADER, ("---",) * len(HEADER)]
    for run in sorted(runs, key=lambda run: run["measures"][MEASURES[0]], reverse=True):
        name = Path(run["run"]).stem
        difference = run["differences"].get(MEASURES[0])
        p = f"{difference['t_test']['corrected']:.4f}" if difference else ""
        speed = speeds.get(name)
        rate = speed["pairs_per_second"] if speed else 0
        cost = (f"{speed['parameters'] / 1e6:.1f}", f"{rate:.0f}", f"{rate / base:.1f}") if speed else ("", "", "")
        lines.append((name, *(f"{run['measures'][measure]:.4f}" for measure in MEASURES), p, *cost))
    sys.stdout.write("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
