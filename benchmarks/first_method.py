"""A first method from nothing, as a new user makes it: written, changed to SimPO, checked, run beside sdpo.

    python benchmarks/first_method.py FOLDER                     # ml-100k, and a board
    python benchmarks/first_method.py FOLDER --limit-users 60    # options of `recbench run`; no board

Each command is timed, and FOLDER/transcript.md is written. The method is installed below FOLDER alone.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

CHANGES = (
    (
        "    version: ClassVar[int] = 1\n",
        "    version: ClassVar[int] = 1\n    needs_reference: ClassVar[bool] = False\n\n"
        "    gamma: float = 0.6\n"
        '    """The margin by which the target shall be ahead."""\n',
    ),
    (
        "        losses = softplus(-self.beta * (pairs.rho_w[:, None] - pairs.rho_l)) * pairs.mask"
        "  # [B, K]\n",
        "        ahead = (pairs.pi_w / pairs.len_w)[:, None] - pairs.pi_l / pairs.len_l.clamp_min(1)\n"
        "        losses = softplus(self.gamma - self.beta * ahead) * pairs.mask\n",
    ),
)
"""The lines of the new method, and what the author writes in their place."""
RECBENCH = "from recbench.cli import main; main()"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    asked, more = parser.parse_known_args()
    folder: Path = asked.folder.resolve()
    folder.mkdir(parents=True)
    told = ["# A first method from nothing\n"]
    session = Session(folder, told)

    session.recbench("method", "new", "mine", "--kind", "preference")
    told.append(f"\nBy hand, in `mine/mine.py`: {change(folder / 'mine' / 'mine.py')} lines.\n")
    session.command(
        *(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"),
        *("--target", str(folder / "site"), str(folder / "mine")),
        shown="pip install ./mine",
    )
    session.recbench("method", "check", "mine")
    session.recbench("run", "-m", "sdpo", "-m", "mine:beta=2", "-d", "ml-100k", *more)
    if not more:
        session.recbench("leaderboard", "build")
    told.append(f"\nIn all {session.seconds:.0f} s.\n")
    (folder / "transcript.md").write_text("".join(told), encoding="utf-8")
    return 0


def change(path: Path) -> int:
    """Write SimPO into the new method; the number of lines that were written."""
    text = path.read_text(encoding="utf-8")
    for old, new in CHANGES:
        assert text.count(old) == 1, f"the new method has no line {old!r}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return sum(len(set(new.splitlines()) - set(old.splitlines()) - {""}) for old, new in CHANGES)


class Session:
    """Commands in one folder, with what they said and how long they took."""

    def __init__(self, folder: Path, told: list[str]) -> None:
        self.folder = folder
        self.told = told
        self.seconds = 0.0

    def recbench(self, *words: str) -> None:
        self.command(sys.executable, "-P", "-c", RECBENCH, *words, shown=shlex.join(["recbench", *words]))

    def command(self, *words: str, shown: str) -> None:
        site = str(self.folder / "site")
        environ = {**os.environ, "RECBENCH_ROOT": str(self.folder), "RECBENCH_MLFLOW": "off"}
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, (site, os.environ.get("PYTHONPATH"))))
        start = time.perf_counter()
        done = subprocess.run(
            words, env=environ, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        taken = time.perf_counter() - start
        self.seconds += taken
        said = done.stdout.replace(str(self.folder), ".").rstrip()
        self.told.append(f"\n```\n$ {shown}\n{said}\n```\n{taken:.1f} s\n")
        print(f"{taken:7.1f} s  {shown}", flush=True)
        if done.returncode:
            sys.exit(f"exit code {done.returncode}\n{said}")


if __name__ == "__main__":
    sys.exit(main())
