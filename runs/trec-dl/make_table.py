"""Print the table of README.md out of a comparison, a benchmark and the students' reports.

python runs/trec-dl/make_table.py runs/trec-dl/figures.json runs/trec-dl/speeds.json models
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MEASURE = "nDCG@10"
HEADER = ["model", MEASURE, "over BM25", "95% interval", "RR@10", "pairs seen", "million parameters", "pairs/s"]
HEADER += ["times BERT-Base"]


def main(figures_file: str, speeds_file: str, models: str) -> None:
    """Print Markdown, best first; the interval is the bootstrap's, of the difference to BM25, the baseline."""
    runs = json.loads(Path(figures_file).read_text(encoding="utf-8"))["runs"]
    measured = json.loads(Path(speeds_file).read_text(encoding="utf-8"))["models"]
    speeds = {Path(row["model"]).name: row for row in measured if not row["error"]}
    base = speeds["12x768"]["pairs_per_second"]
    lines = [HEADER, ["---"] * len(HEADER)]
    for run in sorted(runs, key=lambda run: run["measures"][MEASURE], reverse=True):
        name = Path(run["run"]).stem
        gain = run["differences"].get(MEASURE)
        over = (f"{gain['mean']:+.4f}", "{:+.4f} to {:+.4f}".format(*gain["interval"])) if gain else ("", "")
        report = Path(models) / name / "report" / "figures.json"
        seen = f"{json.loads(report.read_text(encoding='utf-8'))['pairs_seen']:,}" if report.is_file() else ""
        cost = ("", "", "")
        if speed := speeds.get(name):
            rate = speed["pairs_per_second"]
            cost = (f"{speed['parameters'] / 1e6:.1f}", f"{rate:.0f}", f"{rate / base:.1f}")
        lines.append([name, f"{run['measures'][MEASURE]:.4f}", *over, f"{run['measures']['RR@10']:.4f}", seen, *cost])
    sys.stdout.write("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
