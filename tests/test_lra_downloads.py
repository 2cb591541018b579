import base64
import hashlib
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tasks.lra import archives, downloads, web
from tasks.lra.sources import SOURCES, Source

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT. breaks: bytes after which an answer ends; one number for each request."""

    ranges, breaks, status, asked = True, [], 200, []

    def do_GET(self):
        first = 0
        if (asked := self.headers.get("Range")) and self.ranges:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.asked.append(asked)
        if self.status != 200:
            self.send_error(self.status)
        elif first >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
        else:
            self.send_response(206 if first else 200)
            if first:
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
                )
            self.send_header("Content-Length", str(len(CONTENT) - first))
            self.end_headers()
            stop = self.breaks.pop(0) if self.breaks else len(CONTENT)
            self.wfile.write(CONTENT[first : first + stop])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(web, "PAUSE", 0.0)
    handler = type("Fresh", (Handler,), {"breaks": [], "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        handler.url = f"http://127.0.0.1:{served.server_port}/file.bin"  # pyright: ignore
        yield handler
        served.shutdown()
        thread.join()


def source(server, **other):
    sizes = {"bytes": len(CONTENT), "sha256": SHA256}
    return Source("file.bin", "a file", licence="none", how="url", url=server.url, **sizes | other)


def ignore(line):
    pass


def test_a_file_is_fetched_once_and_size_and_licence_are_told_first(tmp_path, server):
    told = []
    for _ in range(2):
        path = downloads.obtain(source(server), tmp_path / "kept", told.append)
        assert path.read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert "1,024,000 bytes, from 127.0.0.1; licence: none" in told[0]
    assert not list(tmp_path.glob("kept/*.part"))


def test_a_broken_connection_is_continued_where_it_ended(tmp_path, server):
    server.breaks[:] = [300_000, 200_000]
    told = []
    path = downloads.obtain(source(server), tmp_path, told.append)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert "the connection broke off after 300,000 bytes; trying again" in told


def test_another_run_continues_what_an_earlier_one_left(tmp_path, server):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    downloads.obtain(source(server), tmp_path, ignore)
    assert server.asked == ["bytes=1000-"]


def test_a_part_that_is_whole_already_is_used(tmp_path, server):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert downloads.obtain(source(server), tmp_path, ignore).read_bytes() == CONTENT
    assert server.asked == ["bytes=1024000-"]


def test_tries_that_bring_something_never_run_out(tmp_path, server):
    server.breaks[:] = [100_000] * (web.TRIES + 2)
    assert downloads.obtain(source(server), tmp_path, ignore).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_fetched_anew(tmp_path, server):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"x")
    told = []
    assert downloads.obtain(source(server), tmp_path, told.append).read_bytes() == CONTENT
    assert any("removed" in line for line in told)


def test_a_server_without_ranges_sends_all_of_it_again(tmp_path, server):
    server.ranges, server.breaks[:] = False, [300_000]
    told = []
    assert downloads.obtain(source(server), tmp_path, told.append).read_bytes() == CONTENT
    assert "this server sends whole files only; 300,000 bytes come again" in told


def test_a_wrong_hash_is_refused_and_the_file_put_aside(tmp_path, server):
    with pytest.raises(ValueError, match=rf"sha256 {SHA256}, expected {'0' * 64}.*not used"):
        downloads.obtain(source(server, sha256="0" * 64), tmp_path, ignore)
    assert not (tmp_path / "file.bin").exists()
    assert (tmp_path / "file.bin.wrong").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"sha256": "", "md5": "0" * 32}, "has md5 .* expected 000"),
        ({"bytes": 5}, "has 1,024,000 bytes, expected 5"),
    ],
)
def test_a_file_that_lies_there_is_checked_too(tmp_path, server, other, said):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    with pytest.raises(ValueError, match=said):
        downloads.obtain(source(server, **other), tmp_path, ignore)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == []


def test_a_refusal_is_not_asked_again_and_says_what_to_do(tmp_path, server):
    server.status = 403
    with pytest.raises(OSError, match=r"403 .* put the file there yourself: .*file\.bin"):
        downloads.obtain(source(server), tmp_path, ignore)
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_asked_a_few_times(tmp_path, server):
    server.status = 503
    with pytest.raises(OSError, match="503"):
        downloads.obtain(source(server), tmp_path, ignore)
    assert len(server.asked) == web.TRIES


def test_an_address_that_does_not_answer_keeps_what_came(tmp_path, server):
    (tmp_path / "file.bin.part").write_bytes(b"1234")
    gone = replace(source(server), url="http://127.0.0.1:1/file.bin")
    with pytest.raises(OSError, match="after 4 bytes"):
        downloads.obtain(gone, tmp_path, ignore)
    assert (tmp_path / "file.bin.part").read_bytes() == b"1234"


def test_more_than_the_disk_holds_is_not_begun(tmp_path, server):
    with pytest.raises(OSError, match="do not fit"):
        downloads.obtain(source(server, bytes=2**60), tmp_path, ignore)
    assert server.asked == []


PACKAGE = Source(
    "zoo_toy-1.0-py3-none-any.whl", "toy", 3, "MIT", "pip",
    sha256=hashlib.sha256(b"whl").hexdigest(), package="zoo-toy", version="1.0",
)  # fmt: skip


def install(folder, version="1.0", content=b"data"):
    """A distribution as pip leaves it."""
    info = folder / f"zoo_toy-{version}.dist-info"
    info.mkdir()
    (folder / "toy.csv").write_bytes(content)
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"data").digest()).rstrip(b"=").decode()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-toy\nVersion: {version}\n")
    (info / "RECORD").write_text(f"toy.csv,sha256={digest},4\n{info.name}/RECORD,,\n")


def test_an_installed_package_needs_no_download(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert not downloads.present(PACKAGE, tmp_path / "kept")
    install(tmp_path)
    assert downloads.present(PACKAGE, tmp_path / "kept")
    found = downloads.obtain(PACKAGE, tmp_path / "kept", ignore)
    assert archives.read(found, "toy.csv") == b"data"


@pytest.mark.parametrize("other", [{"version": "2.0"}, {"content": b"edited"}])
def test_another_version_or_edited_files_do_not_count(tmp_path, monkeypatch, other):
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, **other)
    assert not downloads.present(PACKAGE, tmp_path / "kept")


DEB = replace(PACKAGE, how="apt-get", file="toy.deb", package="toy")


@pytest.mark.parametrize("wanted", [PACKAGE, DEB])
def test_packages_are_fetched_by_their_clients_in_that_very_version(tmp_path, monkeypatch, wanted):
    commands = []

    def run(command, *, cwd, **rest):
        commands.append(command)
        with open(f"{cwd}/{wanted.file}", "wb") as file:
            file.write(b"whl")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(downloads.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert downloads.obtain(wanted, tmp_path, ignore).read_bytes() == b"whl"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    exact = {"pip": [*pip, "zoo-toy==1.0"], "apt-get": ["apt-get", "download", "toy=1.0"]}
    assert commands[0][: len(exact[wanted.how])] == exact[wanted.how]
    assert sorted(path.name for path in tmp_path.iterdir()) == [wanted.file, f"{wanted.file}.lock"]


def test_a_client_that_fails_is_quoted_and_another_way_named(tmp_path, monkeypatch):
    def run(command, **rest):
        return subprocess.CompletedProcess(command, 1, "", "trying\nERROR: no such package\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(OSError, match=r"no such package; pip install zoo-toy==1\.0"):
        downloads.obtain(PACKAGE, tmp_path, ignore)
    monkeypatch.setattr(downloads.shutil, "which", lambda name: None)
    with pytest.raises(OSError, match="apt-get is not here"):
        downloads.obtain(DEB, tmp_path, ignore)


def test_every_source_has_a_size_a_licence_and_a_place():
    for wanted in {source for many in SOURCES.values() for source in many}:
        assert wanted.bytes > 10**6
        assert wanted.licence
        assert wanted.url.startswith("https://") if wanted.how == "url" else wanted.package
        assert "hash not known" in str(wanted) or len(wanted.sha256 or wanted.md5) in (32, 64)
