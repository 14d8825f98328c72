"""Print the tables of README.md out of a benchmark.

python runs/benchmarks/make_table.py runs/benchmarks/equal-weights.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HEADER = ("system", "precision", "pairs/s", "ratio", "p50 ms", "ratio p50", "start s", "MB", "of ceiling", "score gap")


def main(file: str) -> None:
    """Print Markdown, the fastest first; the score gap is the largest one, in standard deviations of the scores."""
    rows = json.loads(Path(file).read_text(encoding="utf-8"))["models"]
    lines = [HEADER, ("---", "---", *["---:"] * (len(HEADER) - 2))]
    for row in sorted(rows, key=lambda row: row["pairs_per_second"], reverse=True):
        share, gap = row["ceiling_share"], row["score_gap"]
        lines.append(
            (
                row["system"],
                row["precision"],
                f"{row['pairs_per_second']:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['query_ms']['p50']:.0f}",
                f"{row['query_ratio']:.2f}",
                f"{row['cold_start_s']:.1f}",
                f"{row['peak_memory_bytes'] / 1e6:.0f}",
                f"{share:.0%}" if share else "",
                f"{gap['max']:.1g}" if gap else "",
            )
        )
    sys.stdout.write("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
