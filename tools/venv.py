"""Make a virtual environment and install the project and what it needs into it.

This needs nothing but Python itself.
"""

import interrupt  # noqa: F401

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path


def has_ensurepip():
    """Return whether `python -m venv` can work; Debian ships that part as a package of
    its own.
    """
    return (
        subprocess.run(
            [sys.executable, "-c", "import ensurepip"], capture_output=True
        ).returncode
        == 0
    )


def parser():
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("folder", metavar="FOLDER", help="where the environment is made")
    made.add_argument(
        "--constraint",
        metavar="FILE",
        help="the versions to choose, as a constraints file of pip",
    )
    return made


def main(folder, constraint=None):
    """Create `folder`, install, and mark it as installed. A folder that another Python
    made is emptied first.
    """
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        sys.exit(
            f"Python 3.10 to 3.13 is needed, {sys.executable} is"
            f" {sys.version.split()[0]}: name another with make quick PYTHON=python3.12"
        )
    if not has_ensurepip():
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            sys.exit(
                "Python's venv module is not complete. Run: sudo apt-get install"
                f" {package}"
            )
        print(f"Installing {package} with apt, as this is root.", flush=True)
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(
            [
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "apt-get",
                "install",
                "-y",
                "-q",
                "--no-install-recommends",
                package,
            ],
            check=True,
        )
    print(f"Installing into {folder}: some minutes, once.", flush=True)
    python = Path(folder, "bin", "python")
    here = Path(sys.executable).resolve()
    other = ["--clear"] if python.exists() and python.resolve() != here else []
    if other:
        print(f"{folder} has another Python: it is made anew, without what you added.")
    subprocess.run([sys.executable, "-m", "venv", *other, folder], check=True)
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    needed = ["-r", "requirements.txt", "-r", "tools/requirements.txt"]
    if constraint:
        needed += ["--constraint", constraint]
    subprocess.run([*pip, *needed], check=True)
    project = ["--no-deps", "--no-build-isolation", "--editable", "."]
    subprocess.run([*pip, *project], check=True)
    Path(folder, "installed").touch()


if __name__ == "__main__":
    given = parser().parse_args()
    try:
        main(given.folder, given.constraint)
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"The installation stopped at: {' '.join(error.cmd)}\nMend what it says"
            " above, and run make again."
        )
