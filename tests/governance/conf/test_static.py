"""A start collects the static files only when those of the last start are not made of the same sources."""

import json
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.files.storage import FileSystemStorage

from governance.conf import static


class Folder(finders.BaseFinder):
    """Finds what lies in one folder."""

    def __init__(self, folder: Path) -> None:
        self.storage = FileSystemStorage(location=folder)

    def list(self, ignore_patterns: object) -> list[tuple[str, FileSystemStorage]]:
        return [(name, self.storage) for name in self.storage.listdir("")[1]]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "a.css").write_text("a {}")
    monkeypatch.setattr(static, "get_finders", lambda: iter([Folder(folder)]))
    return folder


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """A data folder with the files collected from the sources."""
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a.1234.css").write_text("a {}")
    (tmp_path / "static" / static.MANIFEST).write_text(json.dumps({"paths": {"a.css": "a.1234.css"}}))
    return tmp_path


def test_nothing_is_collected_until_collecting_is_done(sources: Path, var: Path) -> None:
    digest = static.sources_digest()
    assert not static.is_collected(var, digest)
    static.collecting_done(var, digest)
    assert static.is_collected(var, static.sources_digest())
    static.collecting_begins(var)
    assert not static.is_collected(var, digest)


def test_a_changed_a_new_and_a_renamed_source_are_noticed(sources: Path, var: Path) -> None:
    seen = {static.sources_digest()}
    (sources / "a.css").write_text("b {}")
    seen.add(static.sources_digest())
    (sources / "b.css").write_text("")
    seen.add(static.sources_digest())
    (sources / "b.css").rename(sources / "c.css")
    seen.add(static.sources_digest())
    assert len(seen) == 4


@pytest.mark.parametrize("name", ["a.1234.css", static.MANIFEST])
def test_a_collected_file_that_is_gone_is_noticed(sources: Path, var: Path, name: str) -> None:
    digest = static.sources_digest()
    static.collecting_done(var, digest)
    (var / "static" / name).unlink()
    assert not static.is_collected(var, digest)


def test_the_sources_of_the_product_are_read_in_a_moment() -> None:
    assert static.sources_digest() == static.sources_digest()
