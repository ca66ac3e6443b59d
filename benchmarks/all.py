"""Run the benchmarks of a CPU, and write their tables into docs/performance.md.

    python benchmarks/all.py [--root ROOT] [--only steps board]

`make bench` runs this: 10 to 15 minutes of one core that does nothing else. The tables stand between two
marks in the page; without `--only` all are made anew. `commands` comes last and reads finished runs, which
`make run` leaves in this repository. A part that fails keeps its table and stops no other.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- {} -->\n", "<!-- end of {} -->\n"
PARTS = {
    "steps": ["bench_steps.py", "--root", "{root}"],
    "batches": ["bench_batches.py", "--root", "{root}"],
    "rollouts": ["bench_rollouts.py", "--root", "{root}"],
    "metrics": ["bench_metrics.py"],
    "board": ["bench_board.py"],
    "scaling": ["scaling.py", "--image", str(PAGE.parent / "images" / "scaling.svg")],
    "commands": ["bench_commands.py", "--root", "{finished}"],
}
"""The command of each part, by the name of its marks in the page."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("build/bench"), help="where splits are kept")
    parser.add_argument("--finished", type=Path, default=HERE.parent, help="a root with finished runs")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    args = parser.parse_args()
    args.root.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in args.only:
        script, *words = (word.format(root=args.root, finished=args.finished) for word in PARTS[name])
        started = time.perf_counter()
        done = subprocess.run([sys.executable, str(HERE / script), *words], stdout=subprocess.PIPE, text=True)
        print(f"{script}: {time.perf_counter() - started:.0f} s\n{done.stdout}", flush=True)
        if done.returncode != 0:
            failed.append(name)
            continue
        PAGE.write_text(placed(PAGE.read_text(), name, done.stdout))
    if failed:
        raise SystemExit(f"no table was made of: {', '.join(failed)}; what is above says why")


def placed(page: str, name: str, tables: str) -> str:
    """The page with the tables of a part between its marks."""
    begin, end = BEGIN.format(name), END.format(name)
    inside = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not inside.search(page):
        raise SystemExit(f"{PAGE} has no place for {name}; it begins with {begin.strip()}")
    return inside.sub(lambda _: f"{begin}\n{tables.strip()}\n\n{end}", page)


if __name__ == "__main__":
    main()
