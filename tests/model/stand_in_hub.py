"""The hub's HTTP API, as far as `huggingface_hub` needs it to push and fetch a model: in memory, on this machine.

A repository is its files; a commit is a digest of them. Large files come by the LFS protocol, as the hub wants weights.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Files = dict[str, bytes]


class Hub(ThreadingHTTPServer):
    """repositories: name -> files. seen: "METHOD path" of every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Files] = {}
        self.lfs: dict[str, bytes] = {}
        self.seen: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def commit(files: Files) -> str:
    whole = b"".join(name.encode() + hashlib.sha256(content).digest() for name, content in sorted(files.items()))
    return hashlib.sha1(whole).hexdigest()


def entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/[^/]+)?", path):
            return self._repository(found[1], lambda name, files: self._json(about(name, files)))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/.*", path):
            return self._repository(found[1], lambda _, files: self._json([entry(*one) for one in files.items()]))
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            return self._repository(found[1], lambda _, files: self._file(files, found[2]))
        return self._error(404, "EntryNotFound")

    def _repository(self, name: str, answer: Any) -> None:
        files = self.server.repositories.get(name)
        if files is None:
            self._error(404, "RepoNotFound")
        else:
            answer(name, files)

    def _file(self, files: Files, name: str) -> None:
        if name not in files:
            return self._error(404, "EntryNotFound")
        told = {"ETag": f'"{hashlib.sha256(files[name]).hexdigest()}"', "X-Repo-Commit": commit(files)}
        return self._send(200, files[name], "application/octet-stream", told)

    def do_POST(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        body = self._body()
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            new = self.server.repositories.setdefault(name, {}) == {}
            return self._json({"url": f"{self.server.address}/{name}", "name": name}, 200 if new else 409)
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/.*", path):
            files = json.loads(body)["files"]
            return self._json({"files": [{"path": one["path"], "uploadMode": mode(one["path"]), "shouldIgnore": False}
                                         for one in files]})  # fmt: skip
        if re.fullmatch(r"/[^/]+/[^/]+\.git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            return self._json({"transfer": "basic", "objects": [
                {**one, "actions": {"upload": {"href": f"{self.server.address}/lfs/{one['oid']}", "header": {}}}}
                for one in objects]}, kind="application/vnd.git-lfs+json")  # fmt: skip
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/.*", path):
            files = self.server.repositories[found[1]]
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.server.lfs[value["oid"]]
            url = f"{self.server.address}/{found[1]}/commit/{commit(files)}"
            return self._json({"success": True, "commitUrl": url, "commitOid": commit(files)})
        return self._error(404, "EntryNotFound")

    def do_PUT(self) -> None:
        content = self._body()
        self.server.lfs[hashlib.sha256(content).hexdigest()] = content
        self._send(200, b"", "text/plain", {})

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _json(self, value: Any, status: int = 200, kind: str = "application/json") -> None:
        self._send(status, json.dumps(value).encode(), kind, {})

    def _error(self, status: int, code: str) -> None:
        self._send(status, b'{"error": "not found"}', "application/json", {"X-Error-Code": code})

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def about(name: str, files: Files) -> dict[str, Any]:
    return {
        "_id": "0", "id": name, "modelId": name, "sha": commit(files), "private": False, "tags": [], "downloads": 0,
        "siblings": [{"rfilename": file} for file in files],
    }  # fmt: skip


def mode(path: str) -> str:
    return "lfs" if path.endswith(".safetensors") else "regular"
