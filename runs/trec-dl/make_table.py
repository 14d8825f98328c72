"""Print the table of README.md out of the figures of a run and the rows of a benchmark.

python runs/trec-dl/make_table.py figures/figures.json runs/trec-dl/speeds.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MEASURES = ("nDCG@10", "RR@10")


def main(figures_file: str, speeds_file: str) -> None:
    """Print Markdown: quality, parameters, pairs a second, times a BERT-Base-shaped model in torch float32."""
    runs = json.loads(Path(figures_file).read_text(encoding="utf-8"))["runs"]
    rows = json.loads(Path(speeds_file).read_text(encoding="utf-8"))["models"]
    figures = {run["run"]: [f"{run['measures'][measure]:.4f}" for measure in MEASURES] for run in runs}
    speeds = {(Path(row["model"]).name, row["precision"]): row for row in rows if not row["error"]}
    base = speeds["12x768", "float32"]["pairs_per_second"]
    lines = [f"| model | {' | '.join(MEASURES)} | million parameters | pairs/s float32 | times BERT-Base | bfloat16 |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name in dict.fromkeys([*figures, *(name for name, _ in speeds)]):
        cells = list(figures.get(name, [""] * len(MEASURES)))
        plain, fast = speeds.get((name, "float32")), speeds.get((name, "bfloat16"))
        if plain:
            rate = plain["pairs_per_second"]
            cells = [*cells, f"{plain['parameters'] / 1e6:.1f}", f"{rate:.0f}", f"{rate / base:.1f}"]
        else:
            cells = [*cells, "", "", ""]
        cells.append(f"{fast['pairs_per_second']:.0f}" if fast else "")
        lines.append(f"| {' | '.join([name, *cells])} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
