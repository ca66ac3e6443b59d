"""A backbone of the hub: planned without asking for it, fetched by a run, found again without the hub."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import World

REPOSITORY, COMMIT = "toys/small", "c" * 40
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
}


class Hub(BaseHTTPRequestHandler):
    """What the Hugging Face Hub answers about one repository."""

    def __init__(self, asked: list[str], *args: Any) -> None:
        self.asked = asked
        super().__init__(*args)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        if self.path.startswith(f"/api/models/{REPOSITORY}/tree"):
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": sha256(body).hexdigest()[:40]}
                for name, body in FILES.items()
            ]
            self._answer(json.dumps(tree).encode())
        elif self.path.startswith(f"/api/models/{REPOSITORY}"):
            siblings = [{"rfilename": name} for name in FILES]
            self._answer(json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode())
        elif self.path.startswith(f"/{REPOSITORY}/resolve/") and name in FILES:
            self._answer(FILES[name])
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        for header, value in (
            ("Content-Length", str(len(body))),
            ("ETag", f'"{sha256(body).hexdigest()}"'),
            ("X-Repo-Commit", COMMIT),
        ):
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The paths that the hub was asked for, in the order."""
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, asked)) as hub:
        Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield asked
        hub.shutdown()


def recbench(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which reads where the hub is."""
    return subprocess.run(world.command(*words), capture_output=True, text=True, check=False)


def test_a_plan_asks_nobody_for_a_backbone_and_a_run_fetches_it_once(
    world: World, asked: list[str], tmp_path: Path
) -> None:
    words = ("-m", "sft", "-d", "toy", "--backbone", REPOSITORY)
    planned = recbench(world, "plan", *words)
    assert planned.returncode == 0, planned.stderr
    assert f"{REPOSITORY} is downloaded" in planned.stdout
    offline = recbench(world, "run", *words, "--offline", "--dry-run")
    assert offline.returncode == 3
    assert f"hf download {REPOSITORY}" in offline.stderr
    assert asked == []
    first = recbench(world, "run", *words, "-m", "dpo", "--dry-run", "--json")
    assert first.returncode == 0, first.stderr
    assert sum(path.endswith("model.safetensors") for path in asked) in (1, 2)  # its size, then its bytes
    asked.clear()
    again = recbench(world, "run", *words, "-m", "dpo", "--offline", "--dry-run", "--json")
    assert again.stdout == first.stdout
    assert asked == []
    next((tmp_path / "hf").rglob(f"snapshots/{COMMIT}/model.safetensors")).unlink()
    partly = recbench(world, "run", *words, "--offline", "--dry-run")
    assert partly.returncode == 3
    assert "or only in part" in partly.stderr


def test_a_backbone_that_the_hub_does_not_have_is_named_before_anything_runs(
    world: World, asked: list[str]
) -> None:
    done = recbench(world, "run", "-m", "sft", "-d", "toy", "--backbone", "toys/none", "--dry-run")
    assert done.returncode == 3
    assert "backbone 'toys/none' (toys/none) is not on this machine" in done.stderr
    assert asked


def test_a_pinned_backbone_is_asked_for_at_its_commit_and_its_error_names_the_packaged_one(
    world: World, asked: list[str]
) -> None:
    done = recbench(world, "run", "-m", "sft", "-d", "toy", "--backbone", "smollm2-135m", "--dry-run")
    assert done.returncode == 3
    assert any(
        "/SmolLM2-135M-Instruct/tree/12fd25f77366fa6b3b4b768ec3050bf629380bac" in path for path in asked
    )
    assert "-b smollm2-135m-q4" in done.stderr
    assert not list(world.root.cache.glob("backbone/*"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--backbone", "models/none.gguf"), 3, "there is no file models/none.gguf"),
        (("--set", "prompt.chat_template=true"), 2, "backbone 'tiny' has no chat template"),
        (("--set", "prompt.chat=true"), 2, "chat_template"),
    ],
)
def test_a_backbone_or_prompt_that_cannot_be_is_named_before_anything_runs(
    world: World, words: tuple[str, ...], code: int, message: str
) -> None:
    done = world.recbench("run", "-m", "sft", "-d", "toy", "--dry-run", *words)
    assert done.returncode == code
    assert message in done.stderr
