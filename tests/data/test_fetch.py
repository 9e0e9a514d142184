"""Fetching over a server on the loopback, and taking local files: whatever happens, what is kept is verified."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from kexue.data import DataError, DataFile, DataSet, get, known_set

BODY = bytes(range(256)) * 4000  # about a megabyte: several pieces
TAG = '"v1"'


class Server(ThreadingHTTPServer):
    """Answers by what is in the address, and remembers the ranges that were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.seen: list[str | None] = []
        self.body = BODY
        self.over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of these tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def reply(self, code: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def reply_range(self, body: bytes, start: int, *, tag: str = TAG, told: int | None = None) -> None:
        span = f"bytes {start if told is None else told}-{len(body) - 1}/{len(body)}"
        self.reply(206, body[start:], Content_Range=span, ETag=tag)

    def do_GET(self) -> None:
        way, body = self.path.split("/")[1], self.server.body
        first = way not in self.server.asked
        self.server.asked.append(way)
        self.server.seen.append(self.headers["Range"])
        asked = self.headers["Range"]
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if way == "missing":
            self.reply(404)
        elif way == "stumbles" and first:
            self.reply(503)
        elif way == "hangs" and first:
            self.server.over.wait(10)
        elif way == "down":
            self.reply(500)
        elif way == "leads-to-file":
            self.reply(302, Location="file:///file")
        elif way == "leads-to-ftp":
            self.reply(302, Location="ftp://127.0.0.1/file")
        elif way == "leads-on":
            self.reply(302, Location="/plain/file")
        elif way == "changed" and start:
            self.reply_range(body, start, tag='"v2"')
        elif way == "shifted" and start:
            self.reply_range(body, start, told=start + 1)
        elif way == "refuses-range" and start:
            self.reply(416)
        elif way == "always-truncated" or (way == "truncated" and first):
            self.reply(200, body[: len(body) // 2], length=len(body), ETag=TAG)
        elif way == "endless":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body + b"more")
        elif start and way != "ignores-range" and self.headers.get("If-Range", TAG) == TAG:
            self.reply_range(body, start)
        else:
            self.reply(200, body, ETag=TAG)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KEXUE_DATA", raising=False)
    monkeypatch.setattr("kexue.data.location.user_folder", lambda: tmp_path / "user")


def entry(url: str | None, *, clear: bool = True, kind: str = "sha256", names: tuple[str, ...] = ("f.bin",)) -> DataSet:
    checksum = f"{kind}:{hashlib.new(kind, BODY).hexdigest()}"
    files = tuple(DataFile(name, len(BODY), checksum, url) for name in names)
    return DataSet("mine", "mine", "title", "a licence", clear, clear, "its origin", files)


def begin(root: Path, content: bytes, tag: str = TAG) -> Path:
    part = root / "mine" / "f.bin.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    if tag:
        part.with_name("f.bin.part.etag").write_text(tag, encoding="utf-8")
    return part


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "mine").iterdir())


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_plain_then_nothing_more(server: Server, tmp_path: Path, kind: str) -> None:
    data, steps = entry(f"{server.address}/plain/f", kind=kind), []
    folder = get(data, data_dir=tmp_path, progress=lambda *step: steps.append(step))
    assert folder == tmp_path / "mine"
    assert (folder / "f.bin").read_bytes() == BODY
    assert names(tmp_path) == ["f.bin"]
    assert steps[-1] == ("f.bin", len(BODY), len(BODY))
    assert len(steps) > 1
    assert [done for _, done, _ in steps] == sorted(done for _, done, _ in steps)
    assert get(data, data_dir=tmp_path) == folder
    assert server.asked == ["plain"]


def test_only_what_is_missing_is_fetched(server: Server, tmp_path: Path) -> None:
    data = entry(f"{server.address}/plain/f", names=("a", "b"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_bytes(BODY)
    get(data, data_dir=tmp_path)
    assert (names(tmp_path), len(server.asked)) == (["a", "b"], 1)


def test_resumes_in_the_middle(server: Server, tmp_path: Path) -> None:
    begin(tmp_path, BODY[:300_000])
    steps: list[int] = []
    get(entry(f"{server.address}/plain/f"), data_dir=tmp_path, progress=lambda name, done, total: steps.append(done))
    assert server.seen == ["bytes=300000-"]
    assert min(steps) > 300_000
    assert (tmp_path / "mine" / "f.bin").read_bytes() == BODY
    assert names(tmp_path) == ["f.bin"]


@pytest.mark.parametrize("way", ["ignores-range", "refuses-range", "changed", "shifted"])
def test_starts_over_where_the_answer_does_not_fit(server: Server, tmp_path: Path, way: str) -> None:
    begin(tmp_path, b"x" * 1000)
    get(entry(f"{server.address}/{way}/f"), data_dir=tmp_path, pause=0)
    assert server.seen == (["bytes=1000-"] if way == "ignores-range" else ["bytes=1000-", None])
    assert (tmp_path / "mine" / "f.bin").read_bytes() == BODY
    assert names(tmp_path) == ["f.bin"]


def test_a_changed_file_is_sent_whole_by_if_range(server: Server, tmp_path: Path) -> None:
    begin(tmp_path, b"x" * 1000, tag='"v0"')
    get(entry(f"{server.address}/plain/f"), data_dir=tmp_path, pause=0)
    assert server.seen == ["bytes=1000-"]
    assert (tmp_path / "mine" / "f.bin").read_bytes() == BODY


@pytest.mark.parametrize("begun", [len(BODY), len(BODY) + 1])
def test_a_begun_file_that_is_whole_or_too_long(server: Server, tmp_path: Path, begun: int) -> None:
    begin(tmp_path, (BODY + b"x")[:begun])
    get(entry(f"{server.address}/plain/f"), data_dir=tmp_path)
    assert server.seen == ([] if begun == len(BODY) else [None])
    assert (tmp_path / "mine" / "f.bin").read_bytes() == BODY


def test_a_truncated_body_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    get(entry(f"{server.address}/truncated/f"), data_dir=tmp_path, pause=0)
    assert server.seen == [None, f"bytes={len(BODY) // 2}-"]
    assert (tmp_path / "mine" / "f.bin").read_bytes() == BODY


def test_a_server_that_never_sends_the_rest_is_given_up(server: Server, tmp_path: Path) -> None:
    half = len(BODY) // 2
    with pytest.raises(
        DataError, match=rf"always-truncated.*{half} of {len(BODY)} bytes; the {half} bytes .* are kept"
    ):
        get(entry(f"{server.address}/always-truncated/f"), data_dir=tmp_path, pause=0, attempts=3)
    assert len(server.asked) == 3
    assert names(tmp_path) == ["f.bin.part", "f.bin.part.etag"]
    get(entry(f"{server.address}/plain/f"), data_dir=tmp_path)
    assert server.seen[-1] == f"bytes={half}-"


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.body = BODY[:-1] + b"x"
    with pytest.raises(
        DataError, match=r"f\.bin from http.* is corrupted: expected sha256:\w+, got sha256:\w+; it was rem"
    ):
        get(entry(f"{server.address}/plain/f"), data_dir=tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("body", [BODY + b"x", b"<html>log in</html>"])
def test_another_length_is_told_before_the_download(server: Server, tmp_path: Path, body: bytes) -> None:
    server.body = body
    with pytest.raises(DataError, match=rf"is not f\.bin: it has {len(body)} bytes, expected {len(BODY)}"):
        get(entry(f"{server.address}/plain/f"), data_dir=tmp_path)
    assert names(tmp_path) == []


def test_a_body_without_end_is_cut(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"it is longer than the expected {len(BODY)} bytes"):
        get(entry(f"{server.address}/endless/f"), data_dir=tmp_path)
    assert names(tmp_path) == []


def test_a_fault_that_passes_is_tried_again(server: Server, tmp_path: Path) -> None:
    get(entry(f"{server.address}/stumbles/f"), data_dir=tmp_path, pause=0)
    assert server.asked == ["stumbles", "stumbles"]


def test_an_answer_that_does_not_come_is_not_waited_for(server: Server, tmp_path: Path) -> None:
    get(entry(f"{server.address}/hangs/f"), data_dir=tmp_path, pause=0, timeout=0.2)
    assert server.asked == ["hangs", "hangs"]


@pytest.mark.parametrize(
    ("way", "times", "message"), [("missing", 1, "answered 404 Not Found"), ("down", 3, "answered 500")]
)
def test_a_fault_that_stays_is_told(server: Server, tmp_path: Path, way: str, times: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        get(entry(f"{server.address}/{way}/f"), data_dir=tmp_path, pause=0, attempts=3)
    assert server.asked == [way] * times
    assert "\n" not in str(caught.value)


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    address = server.address
    server.server_close()
    with pytest.raises(DataError, match=rf"cannot fetch {address}/plain/f: "):
        get(entry(f"{address}/plain/f"), data_dir=tmp_path, pause=0, attempts=2)


@pytest.mark.parametrize("way", ["leads-to-file", "leads-to-ftp"])
def test_redirects_elsewhere_are_refused(server: Server, tmp_path: Path, way: str) -> None:
    with pytest.raises(DataError, match=r"cannot fetch .*(not allowed|not http or https)"):
        get(entry(f"{server.address}/{way}/f"), data_dir=tmp_path, pause=0)
    assert names(tmp_path) == []


def test_a_redirect_to_http_is_followed(server: Server, tmp_path: Path) -> None:
    get(entry(f"{server.address}/leads-on/f"), data_dir=tmp_path)
    assert server.asked == ["leads-on", "plain"]


def test_an_unclear_licence_is_asked_for(server: Server, tmp_path: Path) -> None:
    data, questions = entry(f"{server.address}/plain/f", clear=False), []

    def answer(yes: bool) -> Callable[[str], bool]:
        return lambda question: questions.append(question) or yes

    for refusal in ({}, {"accept_licence": False, "confirm": answer(True)}, {"confirm": answer(False)}):
        with pytest.raises(
            DataError, match=r"licence of mine is not clear: a licence \(its origin\); nothing was fetched"
        ):
            get(data, data_dir=tmp_path, **refusal)
    assert questions == ["the licence of mine is not clear: a licence (its origin). Fetch it?"]
    assert server.asked == []
    assert not (tmp_path / "mine").exists()
    get(data, data_dir=tmp_path / "1", confirm=answer(True))
    get(data, data_dir=tmp_path / "2", accept_licence=True)
    assert len(questions) == len(server.asked) == 2


def test_another_file_in_its_place_is_not_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    place = tmp_path / "mine" / "f.bin"
    for other in (b"mine", b"x" * len(BODY)):
        place.write_bytes(other)
        for source in (None, tmp_path):
            with pytest.raises(
                DataError, match=r"f\.bin is there, and is not the file of mine \(expected .*, got .*\): move"
            ):
                get(entry(f"{server.address}/plain/f"), data_dir=tmp_path, source=source)
        assert place.read_bytes() == other
    assert server.asked == []


def test_where_it_is_written(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = entry(f"{server.address}/plain/f")
    blocked = tmp_path / "blocked"
    blocked.write_bytes(b"a file, where a folder would be needed")
    monkeypatch.setenv("KEXUE_DATA", str(blocked))
    assert get(data) == tmp_path / "user" / "mine"
    with pytest.raises(DataError, match=r"cannot write to a data folder \(.*blocked"):
        get(data, data_dir=blocked)
    monkeypatch.setenv("KEXUE_DATA", str(tmp_path / "shared"))
    assert get(data) == tmp_path / "user" / "mine"  # already there
    shutil.rmtree(tmp_path / "user")
    assert get(data) == tmp_path / "shared" / "mine"
    assert get(data, data_dir=tmp_path / "given") == tmp_path / "given" / "mine"
    assert len(server.asked) == 3


def test_a_link_in_the_place_of_the_part_is_not_written_through(server: Server, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    part = begin(tmp_path, b"")
    part.unlink()
    try:
        part.symlink_to(victim)
    except OSError:
        pytest.skip("this user may not make links here")
    get(entry(f"{server.address}/plain/f"), data_dir=tmp_path)
    assert victim.read_bytes() == b""
    assert not (tmp_path / "mine" / "f.bin").is_symlink()


def test_local_files(tmp_path: Path) -> None:
    data = entry(None, clear=False, names=("a", "b"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(BODY)
    with pytest.raises(DataError, match=r"mine is still without b: .*source does not hold it"):
        get(data, data_dir=tmp_path, source=source)
    (source / "b").write_bytes(BODY)
    folder = get(data, data_dir=tmp_path, source=source / "b")
    assert names(tmp_path) == ["a", "b"]
    assert (folder / "b").read_bytes() == BODY
    moved = folder.rename(tmp_path / "elsewhere")
    (tmp_path / "around").mkdir()
    moved.rename(tmp_path / "around" / "mine")
    get(data, data_dir=tmp_path, source=tmp_path / "around")  # the folder around the set's folder will do
    assert names(tmp_path) == ["a", "b"]


def test_one_file_may_have_another_name(tmp_path: Path) -> None:
    (tmp_path / "download (1)").write_bytes(BODY)
    folder = get(entry(None), data_dir=tmp_path, source=tmp_path / "download (1)")
    assert (folder / "f.bin").read_bytes() == BODY


def test_wrong_local_files(tmp_path: Path) -> None:
    source = tmp_path / "f.bin"
    source.write_bytes(b"short")
    with pytest.raises(DataError, match=rf"is not f\.bin of mine: expected {len(BODY)} bytes, got 5"):
        get(entry(None), data_dir=tmp_path, source=source)
    source.write_bytes(b"x" * len(BODY))
    with pytest.raises(DataError, match=r"f\.bin from .* is corrupted: expected sha256:\w+, got sha256:\w+"):
        get(entry(None), data_dir=tmp_path, source=source)
    assert names(tmp_path) == []
    assert source.exists()
    with pytest.raises(DataError, match=r"source must be a file or a folder that exists, got .*absent"):
        get(entry(None), data_dir=tmp_path, source=tmp_path / "absent")


def test_without_an_address_it_says_where_to_get_it_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no address to fetch from: get f\.bin from its origin, and put it in .*mine"):
        get(entry(None, clear=False), data_dir=tmp_path, accept_licence=True)
    with pytest.raises(DataError, match=r"get att_faces_s01-30\.zip from github\.com/.* put it in .*att_faces"):
        get("att-faces-300", data_dir=tmp_path)


def test_arguments() -> None:
    with pytest.raises(DataError, match="no data set is called 'mnist60k'; nearest: mnist-70k"):
        get("mnist60k")
    with pytest.raises(ValueError, match="attempts must be at least 1, got 0"):
        get("digits", attempts=0)
    assert (get("digits") / known_set("digits").files[0].name).is_file()


def test_too_little_space_is_told_before(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kexue.data.fetch.shutil.disk_usage", lambda path: SimpleNamespace(free=1))
    with pytest.raises(DataError, match=rf"no space left in .*mine: f\.bin needs {len(BODY)} more bytes"):
        get(entry(f"{server.address}/plain/f"), data_dir=tmp_path)
    assert server.asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="no RLIMIT_FSIZE on Windows")
def test_a_full_disk_keeps_what_has_come(server: Server, tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow beyond 500 000 bytes."""
    data = entry(f"{server.address}/plain/f")
    code = (
        "import resource; from pathlib import Path; from kexue.data import DataError, DataFile, DataSet, get\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        f"try: get({data!r}, data_dir=Path({str(tmp_path)!r}))\n"
        "except DataError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert re.fullmatch(
        r"no space left to write .*f\.bin\.part: free some and call again; what has come .* kept\n", done.stdout
    )
    assert (tmp_path / "mine" / "f.bin.part").read_bytes() == BODY[:500_000]
    get(data, data_dir=tmp_path)
    assert server.seen == [None, "bytes=500000-"]
    assert names(tmp_path) == ["f.bin"]
