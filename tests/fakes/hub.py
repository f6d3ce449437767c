"""A model hub on loopback, for the real client: repositories, revisions, gates and tokens.

    with FakeHub() as hub:
        commit = hub.add("org/name", {"config.json": b"{}", "model.safetensors": b"..."})
        HfApi(endpoint=hub.endpoint).model_info("org/name").sha == commit

It speaks the endpoints that a download uses: HEAD and GET `/<repo>/resolve/<revision>/<file>`,
`/api/models/<repo>[/revision/<revision>]`, `…/tree/<revision>` and `…/refs`; and those of an
upload: `/api/repos/create`, `…/branch/<name>`, `…/preupload/<revision>`, `…/commit/<revision>`
and LFS with whole files. Who writes needs the token, and so does who reads what is private.
"""

import base64
import hashlib
import json
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import unquote, urlsplit

_API = re.compile(
    r"/api/models/(?P<repo>[^/]+(?:/[^/]+)?)"
    r"(?:/(?P<what>revision|tree|refs|branch|preupload|commit)(?:/(?P<revision>.+))?)?"
)
_LFS_BATCH = re.compile(r"/(?P<repo>[^/]+(?:/[^/]+)?)\.git/info/lfs/objects/batch")
LAST_MODIFIED = "2024-11-25T09:30:00.000Z"
_LFS_OBJECT = re.compile(r"/storage/(?P<sha256>[0-9a-f]{64})")
_FILE = re.compile(r"/(?P<repo>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class Repository:
    """Its files at each commit, and the commits that its branches and tags name.

    Attributes:
        objects: large files that were uploaded, by their SHA-256, committed or not.
        private: whoever has no token is told that there is no such repository.
        gated: wants a token, and answers as gated without one.
        status: answer every request with this HTTP status instead; None to work.
        corrupt: flip a byte of every file sent, while the headers tell the truth.
        damaged: files of which a byte is flipped.
        nonsense: answer a commit with an object that says nothing, and commit nothing.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    status: int | None = None
    corrupt: bool = False
    damaged: set[str] = field(default_factory=set)
    nonsense: bool = False

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = self.refs.get(revision, revision)
        return (commit, self.commits[commit]) if commit in self.commits else None

    def commit(self, branch: str, content: Mapping[str, bytes]) -> str:
        """Let a branch hold these files; the commit depends on them alone."""
        digests = {name: _sha256(data) for name, data in sorted(content.items())}
        commit = hashlib.sha1(json.dumps(digests).encode()).hexdigest()
        self.commits[commit] = dict(content)
        self.refs[branch] = commit
        return commit


class FakeHub:
    """The server.

    Attributes:
        requests: what was asked, as `METHOD /path`.
        authorized: those of the requests that carried the token.
        answers_left: after so many more answers, connections are cut; None for never.
        uploading: the repository that large files are sent to now.
    """

    def __init__(self, *, token: str = "hf_secret_of_the_test") -> None:
        self.token = token
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.authorized: list[str] = []
        self.answers_left: int | None = None
        self.uploading = Repository()
        self._counting = Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, repo: str, files: Mapping[str, bytes] | Path, *, revision: str = "main") -> str:
        """Commit files, or a folder of them, to a branch; the commit depends on them alone."""
        content = _read(files) if isinstance(files, Path) else dict(files)
        return self.repositories.setdefault(repo, Repository()).commit(revision, content)

    def counts(self, request: str, *, has_token: bool) -> bool:
        """Write a request down, and tell whether it is to be answered."""
        with self._counting:
            self.requests.append(request)
            if has_token:
                self.authorized.append(request)
            if self.answers_left:
                self.answers_left -= 1
                return True
            return self.answers_left is None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop answering: the next request finds the port closed."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.hang_up()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                self.answer(hub)

            do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 -- http.server looks for these names

        return Handler


class _Server(ThreadingHTTPServer):
    """Remembers its connections, for a client that keeps one alive must find it closed."""

    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        for connection in self._open:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, hub: FakeHub) -> None:
        self.hub = hub
        path = unquote(urlsplit(self.path).path)
        self.has_token = self.headers["Authorization"] == f"Bearer {hub.token}"
        if not hub.counts(f"{self.command} {path}", has_token=self.has_token):
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if self.command in ("POST", "PUT"):
            return self._write(path, self._body())
        return self._give(path)

    def _give(self, path: str) -> None:
        found = _API.fullmatch(path) or _FILE.fullmatch(path)
        repository = self.hub.repositories.get(found["repo"]) if found else None
        if found is None or repository is None:
            self._refuse(401 if found else 404, "RepoNotFound")
        elif repository.status is not None:
            self._refuse(repository.status, "")
        elif repository.private and not self.has_token:
            self._refuse(401, "RepoNotFound")
        elif repository.gated and not self.has_token:
            self._refuse(403, "GatedRepo")
        elif "file" in found.groupdict():
            self._send_file(repository, found["revision"], found["file"])
        else:
            self._send_api(repository, found["repo"], found["what"], found["revision"] or "main")

    def _write(self, path: str, body: bytes) -> None:
        """Take a part of an upload; files go to a storage that wants no token, as hubs have it."""
        if stored := _LFS_OBJECT.fullmatch(path):
            return self._store(stored["sha256"], body)
        if not self.has_token:
            return self._refuse(401, "")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        found = _LFS_BATCH.fullmatch(path) or _API.fullmatch(path)
        repository = self.hub.repositories.get(found["repo"]) if found else None
        if found is None or repository is None:
            return self._refuse(404, "RepoNotFound")
        if repository.status is not None:
            return self._refuse(repository.status, "")
        if found.re is _LFS_BATCH:
            return self._plan(repository, json.loads(body))
        write = {"branch": self._branch, "preupload": self._sort, "commit": self._commit}
        return write[found["what"]](repository, found["revision"], body)

    def _create(self, wanted: dict[str, Any]) -> None:
        repo = f"{wanted['organization']}/{wanted['name']}"
        if repo in self.hub.repositories:
            return self._refuse(409, "")
        repository = Repository(private=wanted.get("visibility") == "private")
        repository.commit("main", {".gitattributes": b""})
        self.hub.repositories[repo] = repository
        return self._send_json({"url": f"{self.hub.endpoint}/{repo}"})

    def _branch(self, repository: Repository, name: str, body: bytes) -> None:
        if name in repository.refs:
            return self._refuse(409, "")
        start = (json.loads(body) if body else {}).get("startingPoint", "main")
        repository.refs[name] = repository.refs.get(start, start)
        return self._send_json({})

    def _sort(self, repository: Repository, revision: str, body: bytes) -> None:
        """Say of each file whether it goes into the commit or to the storage of large files."""
        if repository.files(revision) is None:
            return self._refuse(404, "RevisionNotFound")
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if _is_large(file["path"]) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        return self._send_json({"files": files})

    def _plan(self, repository: Repository, wanted: dict[str, Any]) -> None:
        """Say where to send the large files that are not here yet."""
        objects = []
        for one in wanted["objects"]:
            here = one["oid"] in repository.objects
            upload = {"upload": {"href": f"{self.hub.endpoint}/storage/{one['oid']}"}}
            objects.append(one if here else one | {"actions": upload})
        self.hub.uploading = repository
        self._send_json({"transfer": "basic", "objects": objects})

    def _store(self, sha256: str, body: bytes) -> None:
        if _sha256(body) != sha256:
            return self._refuse(400, "")
        self.hub.uploading.objects[sha256] = body
        return self._send(200, b"", {})

    def _commit(self, repository: Repository, branch: str, body: bytes) -> None:
        if repository.nonsense:
            return self._send_json({})
        lines = [json.loads(line) for line in body.splitlines()]
        found = repository.files(branch)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        head, files = found[0], dict(found[1])
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header" if value.get("parentCommit", head) != head:
                    return self._refuse(412, "")
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = repository.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        commit = repository.commit(branch, files)
        return self._send_json(
            {"commitUrl": f"{self.hub.endpoint}/org/name/commit/{commit}", "commitOid": commit}
        )

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send_api(self, repository: Repository, repo: str, what: str | None, revision: str) -> None:
        if what == "refs":
            refs = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
                for name, commit in repository.refs.items()
            ]
            return self._send_json({"branches": refs, "tags": [], "converts": []})
        found = repository.files(revision)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        commit, files = found
        if what == "tree":
            return self._send_json([_tree_entry(*file) for file in files.items()])
        siblings = [{"rfilename": name} for name in files]
        told = {"id": repo, "sha": commit, "siblings": siblings, "lastModified": LAST_MODIFIED}
        return self._send_json(told)

    def _send_file(self, repository: Repository, revision: str, name: str) -> None:
        found = repository.files(revision)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        commit, files = found
        if name not in files:
            return self._refuse(404, "EntryNotFound", commit)
        data = files[name]
        headers = {"ETag": f'"{_etag(name, data)}"', "X-Repo-Commit": commit}
        if repository.corrupt or name in repository.damaged:
            data = bytes([data[0] ^ 1]) + data[1:]
        return self._send(200, data, headers)

    def _send_json(self, document: Any) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, commit: str = "") -> None:
        headers = {"X-Error-Code": code} if code else {}
        self._send(status, b"{}", headers | ({"X-Repo-Commit": commit} if commit else {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent; `FakeHub.requests` is the log."""


def _read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_large(name: str) -> bool:
    """Hubs keep weights in LFS, where a file is named by its SHA-256."""
    return not name.endswith((".json", ".txt", ".md", ".py"))


def _etag(name: str, data: bytes) -> str:
    return _sha256(data) if _is_large(name) else hashlib.sha1(data).hexdigest()


def _tree_entry(name: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "file",
        "path": name,
        "size": len(data),
        "oid": hashlib.sha1(data).hexdigest(),
    }
    if _is_large(name):
        entry["lfs"] = {"oid": _sha256(data), "size": len(data), "pointerSize": 134}
    return entry
