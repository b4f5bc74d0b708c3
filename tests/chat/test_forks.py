"""Forks after a model has answered: children answer, with as many threads, and so does the parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")

HEAD = """
import multiprocessing, os, sys, threading
import numpy as np, torch
import miras
from miras.chat import forks
photo = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
def answer(loaded):
    reply = loaded.chat(photo).refine(box=(10, 10, 200, 200))
    return reply.regions[0].mask.sum(), torch.get_num_threads()
"""
WAYS = {
    "multiprocessing": """
loaded = miras.load("miras-tiny", threads=2)
before = answer(loaded)
def work(queue): queue.put(answer(loaded))
context = multiprocessing.get_context("fork")
for _ in range(2):
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == before
    child.join()
assert answer(loaded) == before
print("good")
""",
    "a fork of a fork, and of a thread": """
loaded = miras.load("miras-tiny", threads=2)
before = answer(loaded)
def child(then):
    pid = os.fork()
    if pid == 0:
        assert answer(loaded) == before
        then()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
child(lambda: child(lambda: None))
thread = threading.Thread(target=lambda: (answer(loaded), child(lambda: None), print("good")))
thread.start()
thread.join()
""",
    "without GNU OpenMP's help": """
forks.MAPS = forks.Path("/no/such/maps")
loaded = miras.load("miras-tiny", threads=2)
count, threads = answer(loaded)
pid = os.fork()
if pid == 0:
    assert answer(loaded) == (count, 1)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0 and answer(loaded) == (count, threads)
print("good")
""",
    "the reader of written text": """
import importlib.util
if importlib.util.find_spec("rapidocr") is None: print("good"); sys.exit()
from PIL import Image, ImageDraw, ImageFont
from miras.model.reading import read
torch.set_num_threads(2)
forks.survive()
page = Image.new("RGB", (400, 120), "white")
ImageDraw.Draw(page).text((40, 30), "OPEN", fill="black", font=ImageFont.load_default(60))
found = [line.title for line in read(np.array(page))]
pid = os.fork()
if pid == 0:
    assert [line.title for line in read(np.array(page))] == found and found
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print("good")
""",
}


TAIL = """
import json, traceback
def each(ways):  # a process of its own for each, forked before anything was computed: what it imports is there
    for name, code in ways.items():
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            try:
                exec(compile(code, name, "exec"), dict(globals()))
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        os.close(writing)
        with open(reading) as lines:
            said = lines.read()
        os.waitpid(pid, 0)
        yield name, said
print(json.dumps(dict(each(json.loads(sys.stdin.read())))))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What each way printed."""
    root = Path(__file__).parents[2] / "src"
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", HEAD + TAIL], env=environment, input=json.dumps(WAYS), capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_a_child_answers(said: dict[str, str], way: str) -> None:
    assert said[way].endswith("good\n"), said[way]
