"""New runs and checkpoints are kept where the computer is lent: in Colab and Kaggle.

Elsewhere they stay in the repository, unless a folder is named.
"""

import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from . import sources, storage
from .files import ROOT, LabError, beside, relative, writing

COLAB, KAGGLE = Path("/content"), Path("/kaggle")
ZIP = "trained.zip"  # what `pack` writes; Colab numbers further ones
MARK = "trained.txt"  # tells a folder of kept runs, also where Kaggle unpacked the zip
TEXT = "New training runs and checkpoints. The next start of a notebook finds them.\n"
_folder, _runs = None, ROOT / "data" / "runs"  # where they are kept, and stored


def lent():
    """Return the folder whose files can be taken away in Colab or in Kaggle, else
    None.
    """
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
        return KAGGLE / "working"
    return COLAB if "google.colab" in sys.modules else None


def begin(keep, runs):
    """Keep from now on what is trained, and bring back what was kept before: finished
    runs, and checkpoints, at which a training goes on.

    keep: a folder; "" for none, then it is `trained` in Colab and Kaggle.
    runs: the folder of runs, in the repository.
    What was kept is looked for in that folder, as trained.zip beside it or where Colab
    uploads to, and among Kaggle's inputs.
    Raises LabError where the folder cannot be had, and for a damaged zip.
    """
    global _folder, _runs
    link, _folder, _runs = ROOT / "build" / "checkpoints", None, runs
    storage.WATCHING.clear()
    if not keep and not lent():
        if link.is_symlink():  # of another session
            link.unlink(missing_ok=True)
        return
    folder = Path(os.path.expanduser(keep)) if keep else lent() / "trained"
    if not folder.parent.is_dir():
        raise LabError(
            f"KEEP is {keep}, but there is no folder {folder.parent}: make it (for"
            ' Google Drive, mount the Drive first), or set KEEP = "".'
        )
    with writing(folder / MARK) as part:
        part.write_text(TEXT)
    (folder / "checkpoints").mkdir(exist_ok=True)
    if link.is_dir() and not link.is_symlink():
        _go_on(link, folder / "checkpoints")
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    fresh = beside(link)  # another notebook may do the same at the same time
    fresh.symlink_to((folder / "checkpoints").resolve(), target_is_directory=True)
    os.replace(fresh, link)
    _folder = folder
    for source in _found(folder):
        if source.suffix == ".zip":
            with tempfile.TemporaryDirectory() as unpacked:
                _unpack(source, unpacked)
                _bring(Path(unpacked), folder, runs)
        else:
            _bring(source, folder, runs)
    storage.WATCHING.append(_keep)


def _found(folder):
    """Return the folders and zips of what was kept."""
    stem, _, ending = ZIP.partition(".")
    zips = [*folder.parent.glob(f"{stem}*.{ending}"), *COLAB.glob(f"{stem}*.{ending}")]
    inputs = [
        here / name
        for here, _, names in sources.folders(sources.KAGGLE)
        for name in names
        if name == MARK or name.startswith(stem) and name.endswith(ending)
    ]
    places = {path.parent if path.name == MARK else path for path in [*zips, *inputs]}
    return [folder, *sorted(places)]


def _unpack(path, to):
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(to)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise LabError(
            f"{path} is damaged ({error}): upload it again, or delete it."
        ) from None


def _bring(source, folder, runs):
    """Copy runs and checkpoints, where none that are newer stand in their place."""
    brought = 0
    for record in (source / relative(runs)).glob("*/*/*/seed-*/run.json"):
        run = storage.read(record.parent)[0]
        name = "/".join(record.parent.parts[-4:])
        here = storage.finished(runs, name, run["fingerprint"], False, False)
        here = here or storage.place(runs, run)
        before, *_ = storage.read(here) or [{"finished_at": ""}]
        if before["finished_at"] < run["finished_at"]:
            _copy(record.parent, here)
            brought += 1
    _go_on(source / "checkpoints", folder / "checkpoints")
    if brought:
        print(f"{brought} runs that were kept are back.")


def _go_on(source, target):
    """Copy the checkpoints of each training that is further in one folder than in
    another.
    """

    def last(training):  # a name begins with the epoch
        return max((path.name for path in training.glob("[0-9]*.npz")), default="")

    for training in source.glob("*"):
        if last(target / training.name) < last(training):
            _copy(training, target / training.name)


def _copy(source, target):
    """Copy a folder, in place of what is there, whole or not at all."""
    fresh = beside(target)
    try:
        # Kaggle's inputs cannot be written, and their copies shall.
        shutil.copytree(source, fresh, copy_function=shutil.copyfile)
        storage.put(fresh, target)
    except OSError as error:
        raise LabError(
            f"Cannot write {relative(target)} ({error.strerror or error}): make room"
            " there, or set KEEP to another folder."
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _keep(path):
    """Copy a run that has just been stored."""
    folder = path.parents[4] / "runs" if path.parts[-5] == "next" else path.parents[3]
    _copy(path, _folder / relative(folder) / Path(*path.parts[-4:]))


def pack():
    """Say where new runs are. In Colab and Kaggle, where no folder was named to keep
    them, write them and the checkpoints of unfinished ones as trained.zip; Colab's page
    offers it.
    """
    if not _folder:
        where = relative(_runs)
        return print(f"New runs stay in this folder of the repository: {where}.")
    runs = len(list(_folder.rglob("run.json")))
    begun = len(list((_folder / "checkpoints").glob("*")))
    what = f"{runs} new runs and {begun} unfinished trainings"
    top = lent()
    if not top or _folder != top / "trained":
        return print(f"{what} are kept in {_folder}: the next start finds them there.")
    with writing(top / ZIP) as part:
        with zipfile.ZipFile(part, "w") as archive:
            for path in sorted(_folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(_folder))
    print(f"{what} are in {top / ZIP}.")
    if top == COLAB:
        print("Upload it to Colab's files before the next start, and they are back.")
        with suppress(ImportError):
            from google.colab import files

            files.download(str(top / ZIP))
    else:
        print("Save a version, and add its output to the next notebook as an input.")
