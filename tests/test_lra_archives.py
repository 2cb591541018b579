import gzip
import io
import os
import stat
import tarfile
import zipfile

import pytest

from tasks.lra import archives

FILES = {"a/one.txt": b"one", "a/two.txt": b"two" * 1000, "b.txt": b"b"}


def tar(path, members, packed="w:gz"):
    with tarfile.open(path, packed) as archive:  # pyright: ignore
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def deb(path, members, inner="data.tar.xz"):
    """Members of an ar archive are padded to an even number of bytes."""
    data = tar(path.with_suffix(".tar"), members, "w:xz").read_bytes()
    parts = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (inner, data)]
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in parts:
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            file.write(content + b"\n" * (len(content) % 2))
    return path


def folder(path, members):
    for name, content in members:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


KINDS = {"x.tar.gz": tar, "x.whl": zipped, "x.deb": deb}


@pytest.mark.parametrize("name", KINDS)
def test_members_that_are_asked_for_are_read_and_no_others(tmp_path, name):
    path = KINDS[name](tmp_path / name, FILES.items())
    found = dict(archives.members(path, lambda name: name.startswith("a/")))
    assert found == {name: FILES[name] for name in ("a/one.txt", "a/two.txt")}
    assert archives.read(path, "b.txt") == b"b"


@pytest.mark.parametrize("name", KINDS)
def test_names_lose_the_dot_in_front(tmp_path, name):
    path = KINDS[name](tmp_path / name, [("./usr/./x", b"1")])
    assert archives.read(path, "usr/x") == b"1"


def test_an_installed_package_is_read_like_its_archive(tmp_path):
    path = folder(tmp_path / "installed", FILES.items())
    assert archives.read(path, "a/one.txt") == b"one"
    with pytest.raises(ValueError, match="leads out"):
        archives.read(path, "../secret")
    with pytest.raises(ValueError, match=r"no c\.txt"):
        archives.read(path, "c.txt")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("bad", ["/etc/passwd", "../up", "a/../../up", "..\\up", "a/.."])
def test_a_name_that_leads_out_refuses_the_whole_archive(tmp_path, name, bad):
    path = KINDS[name](tmp_path / name, [(bad, b"x"), ("a.txt", b"a")])
    with pytest.raises(ValueError, match="leads out"):
        archives.read(path, "a.txt")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
@pytest.mark.parametrize("make", [tar, deb])
def test_links_and_devices_in_a_tar_are_refused_if_asked_for(tmp_path, make, kind):
    info = tarfile.TarInfo("a.txt")
    info.type, info.linkname = kind, "/etc/passwd"
    path = make(tmp_path / "x.deb", [(info, b""), ("b.txt", b"b")])
    with pytest.raises(ValueError, match="link or a device"):
        archives.read(path, "a.txt")
    assert archives.read(path, "b.txt") == b"b"


def test_links_in_a_zip_are_refused(tmp_path):
    info = zipfile.ZipInfo("a.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = zipped(tmp_path / "x.whl", [(info, b"/etc/passwd")])
    with pytest.raises(ValueError, match="link or a device"):
        archives.read(path, "a.txt")


@pytest.mark.parametrize("name", KINDS)
def test_more_bytes_than_allowed_are_refused_before_they_are_unpacked(tmp_path, name):
    bomb = [("a.txt", bytes(10)), ("b.txt", bytes(5_000_000))]
    path = KINDS[name](tmp_path / name, bomb)
    assert path.stat().st_size < 50_000
    with pytest.raises(ValueError, match=r"b.txt has 5,000,000 bytes .* 990 left"):
        list(archives.members(path, lambda name: True, limit=1000))


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", [("a.txt", bytes(5_000_000))])
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + offset
        content[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be unpacked"):
        archives.read(path, "a.txt", limit=1000)


@pytest.mark.parametrize("name", KINDS)
def test_an_archive_that_is_cut_off_is_refused(tmp_path, name):
    path = KINDS[name](tmp_path / name, [("a.txt", os.urandom(20_000)), ("b.txt", b"b")])
    path.write_bytes(path.read_bytes()[:-15_000])
    with pytest.raises(ValueError, match=r"cut off|cannot be unpacked"):
        list(archives.members(path, lambda name: True))


@pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 100, gzip.compress(b"no tar")])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.tar\.gz cannot be unpacked"):
        archives.read(tmp_path / "x.tar.gz", "a.txt")


def test_a_deb_without_data_or_with_unknown_compression_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no data\.tar"):
        archives.read(deb(tmp_path / "a.deb", FILES.items(), "other.tar.xz"), "b.txt")
    with pytest.raises(ValueError, match="dpkg-deb"):
        archives.read(deb(tmp_path / "b.deb", FILES.items(), "data.tar.zst"), "b.txt")
