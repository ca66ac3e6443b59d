"""Finished runs for boards, boards as `board.json` holds them, and a board in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recbench.board import build, render
from recbench.board.model import Board
from recbench.results.bundle import Bundle
from recbench.results.request_features import Context

from .reader import Reader

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

MakeBundle = Callable[..., Bundle]

TRAIN = {
    "epochs": 4.0,
    "pack": "user-blocks",
    "block_items": 21,
    "block_overlap": 1,
    "lora_rank": 0,
    "lora_alpha": 16,
    "precision": "fp32",
}
TINY: dict[str, Any] = {
    "paradigm": "semantic-id",
    "backbone": "tiny",
    "prompt": "p1",
    "identifiers": {"codes": 64},
    "train": TRAIN,
}


def ranks(seed: int, hit_rate: float, num_users: int = 200) -> list[int]:
    rng = np.random.default_rng(seed)
    found: list[int] = np.where(rng.random(num_users) < hit_rate, rng.integers(1, 21, num_users), 0).tolist()
    return found


@pytest.fixture
def study(make_bundle: MakeBundle) -> list[Bundle]:
    """Two LLM methods and a sequential one over five seeds, and a popularity floor."""
    runs = [make_bundle("popularity", ranks(1, 0.1), seed=None, certified_share=None)]
    for seed in range(5):
        runs.append(make_bundle("sasrec", ranks(10 + seed, 0.5), seed=seed, certified_share=None))
        runs.append(make_bundle("sft", ranks(20 + seed, 0.5), seed=seed, llm=TINY))
        runs.append(make_bundle("ilrec", ranks(30 + seed, 0.95), seed=seed, llm=TINY, certified_share=0.98))
    return runs


def built(runs: Iterable[Bundle], **options: Any) -> dict[str, Any]:
    """The board as `board.json` holds it."""
    return build.build(runs, **options).to_json()


def rows_of(board: dict[str, Any], table: int = 0) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in board["tables"][table]["rows"]}


def standing(board: dict[str, Any], key: str, metric: str = "ndcg@10") -> dict[str, Any]:
    """What the view of all users says of each row."""
    [table] = board["tables"]
    values = table["views"]["all"][metric][key]
    return {row["name"]: value for row, value in zip(table["rows"], values, strict=True)}


PAGE_USERS = 300
PAGE_LLM = {"paradigm": "semantic-id", "backbone": "tiny", "prompt": "p1"}
# hit rates of three seeds; ilrec and dpo start from sft's block, dpo from its fits
PAGE_RATES = {"sasrec": 0.5, "sft": 0.5, "dpo": 0.55, "ilrec": 0.8}


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    pytest.importorskip("selenium", reason="the page's tests need selenium")
    chromium, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver_path is None:
        pytest.skip("needs a browser; on Debian: apt install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        f"user-data-dir={profile}",
        "window-size=1400,1200",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page_made() -> dict[str, Any]:
    """The board and its runs, once a test has made them."""
    return {}


@pytest.fixture
def page_board(page_made: dict[str, Any], make_bundle: MakeBundle) -> Any:
    """Four methods over three seeds, a popularity floor, and a second dataset."""
    if page_made:
        return page_made["board"]
    rng = np.random.default_rng(0)
    popularity = np.sort(rng.geometric(0.05, 50))
    surroundings = Context(
        item_popularity=popularity,
        item_labels=np.zeros((50, 0), dtype=np.int32),
        target_popularity=rng.choice(popularity, PAGE_USERS),
        history_length=rng.integers(1, 40, PAGE_USERS),
        history_popularity=np.ones(PAGE_USERS),
    )
    context = {"context.npz": asdict(surroundings)}
    runs = [make_bundle("popularity", page_draw(rng, 0.1), seed=None, certified_share=None, arrays=context)]
    fits: dict[int, str] = {}
    for seed in range(3):
        for name, rate in PAGE_RATES.items():
            parent = fits[seed] if name == "dpo" else None
            llm = None if name == "sasrec" else PAGE_LLM
            curve = (
                "".join(json.dumps({"step": 10 * n, "loss": 3 / n}) + "\n" for n in (1, 2, 3)) if llm else ""
            )
            one = make_bundle(name, page_draw(rng, rate), seed=seed, llm=llm, parent=parent, curve=curve)
            if name == "sft":
                fits[seed] = one.spec.fit.id
            runs.append(one)
    runs.append(make_bundle("sasrec", page_draw(rng, 0.5), dataset="toys"))
    page_made["board"] = build.build(runs).to_json()
    page_made["runs"] = runs
    return page_made["board"]


def page_draw(rng: np.random.Generator, rate: float) -> list[int]:
    found: list[int] = np.where(rng.random(PAGE_USERS) < rate, rng.integers(1, 21, PAGE_USERS), 0).tolist()
    return found


@pytest.fixture
def reader(
    browser: Chrome, page_board: dict[str, Any], page_made: dict[str, Any], tmp_path: Path
) -> Iterator[Reader]:
    (tmp_path / "index.html").write_text(render.html(Board.from_json(page_board), page_made["runs"]))
    reader = Reader(browser, tmp_path / "index.html")
    yield reader
    reader.as_before()
