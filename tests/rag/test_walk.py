"""Finding documents: rules, links, odd files, names that are not UTF-8, and folders that are not there."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.errors import NotFound
from ownlm.rag.walk import Found, Rules, Skipped, Unseen, document_name, document_path, walk

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX file names and kinds")


@pytest.fixture
def tree(tmp_path: Path):
    """``tree("a/b.txt", "c/")``: make files and folders, return the root."""
    root = tmp_path / "root"
    root.mkdir()

    def make(*names: str, **contents: str) -> Path:
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                path.mkdir(exist_ok=True)
            else:
                path.write_text(contents.get(name, "text"))
        return root

    return make


def found(root: Path, *roots: Path, **options: object) -> list[str]:
    items = walk([root, *roots], **options)  # type: ignore[arg-type]
    return [os.path.relpath(item.path, root) for item in items if isinstance(item, Found)]


def reasons(root: Path, **options: object) -> dict[str, str]:
    items = list(walk([root], **options))  # type: ignore[arg-type]
    return {os.path.relpath(item.name, root): item.reason for item in items if isinstance(item, Skipped)}


def test_files_are_found_in_the_order_of_their_names(tree):
    root = tree("b.txt", "a.txt", "Z.txt", "sub/c.txt", "sub/deep/d.txt", "alpha/e.txt")
    assert found(root) == ["Z.txt", "a.txt", "b.txt", "alpha/e.txt", "sub/c.txt", "sub/deep/d.txt"]
    item = next(iter(walk([root])))
    assert isinstance(item, Found)
    assert (item.size, item.name) == (4, document_name(root / "Z.txt"))
    assert item.mtime_ns == (root / "Z.txt").stat().st_mtime_ns


def test_defaults_leave_out_what_holds_no_documents_and_say_why(tree):
    names = [".git/config", "node_modules/x/a.js", "venv/a.py", "__pycache__/a.pyc", ".env", "server.pem", "id_rsa"]
    names += ["uv.lock", "package-lock.json", "photo.JPG", "photo.jpg", "song.mp3", "all.zip", "a.exe", "~$rules.docx"]
    root = tree(*names, "rules.docx", "keys.md")
    assert found(root) == ["keys.md", "photo.JPG", "rules.docx"]
    why = reasons(root)
    assert why[".git"] == "hidden"
    assert why[".env"] == "may hold secrets" or why[".env"] == "hidden"
    assert why["server.pem"] == why["id_rsa"] == "may hold secrets"
    assert "picture" in why["photo.jpg"]
    assert "node_modules" in why
    assert not any(name.startswith("node_modules/") for name in why)


def test_ignore_files_nest_and_take_back(tree):
    root = tree(
        "a.txt", "b.log", "keep.log", "draft/x.txt", "sub/a.txt", "sub/c.tmp.txt", "sub/deep/a.txt", "sub/b.log"
    )
    (root / ".gitignore").write_text("*.log\n!keep.log\n/draft/\n")
    (root / "sub" / ".ownlmignore").write_text("/a.txt\n!b.log\n")
    assert found(root) == ["a.txt", "keep.log", "sub/b.log", "sub/c.tmp.txt", "sub/deep/a.txt"]
    assert reasons(root)["sub/a.txt"] == "left out by .ownlmignore"


def test_ignore_files_override_the_defaults(tree):
    root = tree(".notes/a.txt", "photo.png", "b.txt")
    (root / ".ownlmignore").write_text("!.notes/\n!*.png\nb.txt\n")
    assert found(root) == ["photo.png", ".notes/a.txt"]


def test_a_root_that_is_a_file_is_read_whatever_the_rules_say(tree):
    root = tree(".env")
    assert found(root / ".env") == ["."]


def test_the_size_limit_is_named(tree):
    root = tree("big.txt", "small.txt")
    (root / "big.txt").write_bytes(bytes(2048))
    rules = Rules(max_bytes=1024)
    assert found(root, rules=rules) == ["small.txt"]
    assert reasons(root, rules=rules) == {"big.txt": "has 2.0 KiB, more than the limit of 1.0 KiB"}


def test_roots_that_overlap_give_each_file_once(tree):
    root = tree("a.txt", "sub/b.txt")
    assert found(root, root / "sub", root / "a.txt", root) == ["a.txt", "sub/b.txt"]


@posix
def test_links_are_reported_and_not_followed(tree, tmp_path):
    root = tree("a.txt", "sub/b.txt")
    outside = tmp_path / "outside.txt"
    outside.write_text("private")
    for name, target in {
        "loop": root,
        "sub/up": "..",
        "self": "self",
        "broken": "nowhere",
        "out.txt": outside,
        "in.txt": "a.txt",
        "folder": "sub",
    }.items():
        (root / name).symlink_to(target)
    assert found(root) == ["a.txt", "sub/b.txt"]
    why = reasons(root)
    assert why["loop"] == why["sub/up"] == "a link to a folder above it"
    assert why["self"] == "a link that leads to itself"
    assert why["broken"] == "a link that leads nowhere"
    assert "out of the folder" in why["out.txt"]
    assert str(outside) in why["out.txt"]
    assert why["in.txt"] == why["folder"] == "a link to what is read in its own place"


@posix
def test_a_root_reached_through_a_link_is_followed(tree, tmp_path):
    root = tree("a.txt")
    (tmp_path / "link").symlink_to(root)
    assert [item.name for item in walk([tmp_path / "link"]) if isinstance(item, Found)] == [
        document_name(root / "a.txt")
    ]


@posix
def test_pipes_and_sockets_are_never_opened(tree, monkeypatch):
    root = tree("a.txt")
    os.mkfifo(root / "pipe")
    os.mkfifo(root / ".gitignore")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        why = reasons(root)
    assert why["pipe"] == "a pipe, not a file"
    assert why["socket"] == "a socket, not a file"
    assert found(root) == ["a.txt"]


@posix
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses such names")
def test_names_that_are_not_utf8(tree):
    root = tree("a.txt")
    path = Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.txt"))
    path.write_text("x")
    names = [item.name for item in walk([root]) if isinstance(item, Found)]
    assert names[1].endswith("/caf\\xe9.txt")
    names[1].encode("utf-8")
    assert document_path(names[1]) == path


@posix
@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_names_lead_back_to_their_files_and_are_never_shared(raw):
    path = os.fsdecode(b"/docs/" + raw)
    if raw in (b".", b".."):
        return
    name = document_name(path)
    name.encode("utf-8")
    assert os.fsencode(document_path(name)) == os.fsencode(path)


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_unseen(tree):
    root = tree("a.txt", "locked/b.txt")
    (root / "locked").chmod(0)
    try:
        unseen = [item for item in walk([root]) if isinstance(item, Unseen)]
    finally:
        (root / "locked").chmod(0o700)
    assert [item.name for item in unseen] == [document_name(root / "locked")]
    assert "permission denied" in unseen[0].reason


def test_a_folder_that_cannot_be_listed_is_unseen_and_the_rest_goes_on(tree, monkeypatch):
    root = tree("a.txt", "gone/b.txt", "later/c.txt")
    whole = os.scandir

    def scandir(path: str):
        if str(path).endswith("gone"):
            raise OSError(5, "Input/output error")
        return whole(path)

    monkeypatch.setattr(os, "scandir", scandir)
    items = list(walk([root]))
    assert [item.name for item in items if isinstance(item, Unseen)] == [document_name(root / "gone")]
    assert [item.path.name for item in items if isinstance(item, Found)] == ["a.txt", "c.txt"]


def test_a_missing_root_is_not_a_deletion(tree, tmp_path):
    root = tree("a.txt")
    with pytest.raises(NotFound, match="does not exist"):
        list(walk([root, tmp_path / "absent"]))
    items = list(walk([tmp_path / "absent", root], missing_ok=True))
    assert isinstance(items[0], Unseen)
    assert isinstance(items[1], Found)


def test_an_ignore_file_that_cannot_be_used_is_reported(tree):
    root = tree("a.txt")
    (root / ".gitignore").write_bytes(b"#" * (2 << 20))
    problems = [item.reason for item in walk([root]) if isinstance(item, Skipped)]
    assert problems[0].startswith("its rules were not used")
