"""An evaluation of a model behind a server, killed again and again: which answers are asked for twice?

    python benchmarks/kills.py DATA --kills 20 > benchmarks/kills.json

A server of this script answers by a rule, and counts every request by its body. `miras eval DATA --model openai:m` runs
in a process of its own, gets SIGKILL after a few requests, at a random moment of the next one, and is started again,
until it was killed so often; then it may end. paid_twice: requests that were asked again though they were not the one
that was on its way when the process was killed; those on their way are in_flight: no client can know their answers.
At the end the same command once more must ask for nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DELAY = 0.05
"""Seconds that an answer takes."""


class Server(ThreadingHTTPServer):
    """asked: digests of the requests, in order. after: how many until the next kill; then `due` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.after, self.due, self.guard = 1 << 60, threading.Event(), threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked was killed."""


class Handler(BaseHTTPRequestHandler):
    """Answers by a rule."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """A box that follows from the request."""
        body = self.rfile.read(int(self.headers["content-length"]))
        digest = hashlib.sha256(body).hexdigest()
        with self.server.guard:
            self.server.asked.append(digest)
            if len(self.server.asked) >= self.server.after:
                self.server.due.set()
        time.sleep(DELAY)
        corner = int(digest[:2], 16)
        region = {"id": 0, "phrase": "thing", "box": [corner, corner, corner + 400, corner + 400], "points": []}
        content = json.dumps({"text": "The thing.", "steps": [{"do": "replace", "regions": [region]}]})
        message = {"role": "assistant", "content": content}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                  "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                  "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}  # fmt: skip
        data = json.dumps(answer).encode()
        try:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass  # who asked was killed

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def command(data: Path, out: Path, url: str, limit: int) -> list[str]:
    return [sys.executable, "-m", "miras", "eval", str(data), "--split", "test", "--limit", str(limit), "--model",
            "openai:m", "--base-url", url, "--decoder", "miras-tiny", "--max-side", "64", "--threads", "1", "--out",
            str(out), "--json"]  # fmt: skip


def killed(server: Server, arguments: list[str], draw: random.Random) -> str | None:
    """Start, kill in the middle of a later request; its digest. None when it ended before."""
    server.due.clear()
    server.after = len(server.asked) + draw.randint(3, 8)
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not server.due.wait(0.05):
        if process.poll() is not None:
            return None
    time.sleep(draw.uniform(0, 2 * DELAY))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(2 * DELAY)
    return server.asked[-1]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    server, draw = Server(), random.Random(given.seed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kills, in_flight = 0, list[str]()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        arguments = command(given.data, out, f"http://127.0.0.1:{server.server_port}/v1", given.limit)
        while kills < given.kills:
            last = killed(server, arguments, draw)
            if last is None:
                print("the run ended before it was killed so often: give a larger --limit", file=sys.stderr)
                return 1
            kills += 1
            in_flight.append(last)
            print(f"kill {kills}: {len(server.asked)} requests", file=sys.stderr, flush=True)
        server.after = 1 << 60
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        requests = len(server.asked)
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
        spent = json.loads(done.stdout.strip().splitlines()[-1])["spent"]
    more = {digest: server.asked.count(digest) - 1 for digest in set(server.asked)}
    again = sum(more.values())
    excused = sum(min(more.get(digest, 0), in_flight.count(digest)) for digest in set(in_flight))
    found = {
        "kills": kills, "requests": requests, "questions": len(more), "asked_again": again, "in_flight": excused,
        "paid_twice": again - excused, "asked_when_done": len(server.asked) - requests,
        "answers_in_journal": spent["prompt_tokens"] // 100, "limit": given.limit, "seed": given.seed,
    }  # fmt: skip
    print(json.dumps(found))
    return 0 if found["paid_twice"] == found["asked_when_done"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
