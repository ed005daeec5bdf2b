import os

import pytest

from lab.plumbing import files
from lab.plumbing.files import LabError, beside, located, write, writing


def test_a_failed_write_leaves_the_old_file_whole_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    write(path, "old")
    with pytest.raises(RuntimeError):
        with writing(path) as part:
            part.write_text("half")
            raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_full_disk_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "result.json"
    write(path, "old")
    with pytest.raises(
        LabError, match="Cannot write .*No space left.*free some disk space"
    ):
        with writing(path) as part:
            part.write_text("half")
            raise OSError(28, "No space left on device")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "figures").write_text("a file where a folder should be")
    with pytest.raises(LabError, match="Cannot write .*figures/01.pdf"):
        write(tmp_path / "figures" / "01.pdf", "content")


def test_a_lab_error_shows_one_line_in_a_notebook():
    assert LabError("what to do")._render_traceback_() == ["LabError: what to do"]


def test_temporary_names_of_one_file_are_never_the_same(tmp_path):
    assert len({beside(tmp_path / "run.json") for _ in range(100)}) == 100
    assert beside(tmp_path / "run.json").suffix == ".json"


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / f"{'x' * 250}.txt"
    write(path, "content")
    assert path.read_text() == "content" and len(os.listdir(tmp_path)) == 1


def test_what_is_synced_may_be_written_as_windows_wants(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    modes = []
    monkeypatch.setattr(
        files.os, "fsync", lambda file: modes.append(fcntl.fcntl(file, fcntl.F_GETFL))
    )
    write(tmp_path / "a", "content")
    assert [mode & os.O_ACCMODE for mode in modes] == [os.O_RDWR]


def test_a_path_is_seen_from_here_then_from_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert located("README.md").samefile(files.ROOT / "README.md")
    write(tmp_path / "README.md", "mine")
    assert located("README.md").samefile(tmp_path / "README.md")
    assert located("~/README.md") == tmp_path / "README.md"
    for name in ("no/such", "a\0b", "~nobody-has-this-name/x", "x" * 5000):
        assert located(name) is None
