"""The commands of the README, as far as they can be seen without running them."""

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import ROOT, packages, tool

WHERE = """
from importlib.util import find_spec
print(*(find_spec(name).origin for name in ("lab", "apps")), sep="\\n")
"""


def make(*arguments):
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True
    )


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)


def test_the_readme_has_at_most_150_lines_and_its_links_lead_somewhere():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]*)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_make_alone_lists_every_command_of_the_readme_with_a_line_each():
    listed = make().stdout
    for command in set(re.findall(r"(?:^|`)make ([a-z-]+)", TEXT, flags=re.M)):
        assert re.search(rf"^  make {command} +\S", listed, flags=re.M), command


def test_every_command_of_the_readme_is_one_that_make_can_run():
    commands = {
        line.strip("`")
        for line in re.findall(r"(?:^make [^\n`]+$|`make [^`]+`)", TEXT, flags=re.M)
    }
    assert {"make quick", "make test", "make reproduce", "make check"} <= commands
    for command in commands:
        done = make("-n", *shlex.split(command)[1:])
        assert done.returncode == 0 and done.stdout, f"{command}: {done.stderr}"


def test_every_variable_of_a_command_changes_what_it_runs():
    def run(*words):
        there = [f"-o.venv/{name}" for name in ("installed", "browser", "cluster")]
        return make("-s", *there, "RUN=echo", *words).stdout

    seen = set()
    commands = re.findall(r"(?:^make [^\n`]+$|`make [^`]+`)", TEXT, flags=re.M)
    commands += ["make exam SEED=7", "make baselines MINUTES=20"]
    commands += ["make photos FOLDER=photos/ PROFILE=quick"]
    for command in commands:
        words = shlex.split(command.strip("`"))[1:]
        for word in words:
            name = word.partition("=")[0]
            if "=" in word and name not in ("LANGUAGE", "PYTHON"):
                seen.add(name)
                rest = [other for other in words if other != word]
                assert run(*words) != run(*rest), command
    named = "RUNS WORKERS SCHEDULER CLAIMS FOLDER INPUT DATASETS RUBRIC SEED MINUTES"
    named += " PROFILE"
    assert seen >= set(named.split())
    other = make("-n", "-W", "requirements.txt", "quick", "PYTHON=python9").stdout
    assert "python9 tools/venv.py" in other


def test_the_versions_of_the_readme_are_those_that_are_installed():
    needed = (ROOT / "requirements.txt").read_text()
    for library in ("TensorFlow 2", "Keras 3"):
        name, major = library.split()
        low, high = re.search(rf"{library}\.(\d+) to {major}\.(\d+)", TEXT).groups()
        asked = f"{name.lower()}>={major}.{low},<{major}.{int(high) + 1}"
        assert asked in needed
    low, high = re.search(r"Python 3\.(\d+) to 3\.(\d+)", TEXT).groups()
    about = (ROOT / "pyproject.toml").read_text()
    assert f'requires-python = ">=3.{low},<3.{int(high) + 1}"' in about


def handed(*words):
    """Return the arguments with which a command of make calls Python."""
    there = [f"-o.venv/{name}" for name in ("installed", "cluster")]
    said = make("-s", *there, "RUN=printf [%s]", *words).stdout
    return re.findall(r"\[(.*?)\]", said.replace("[%s]", ""))


def test_plan_and_retrain_are_narrowed_by_patterns():
    patterns = ["cifar10/improved/*", "*/dense"]
    for command, word in (("plan", "list"), ("retrain", "train")):
        called = handed(command, f"RUNS={' '.join(patterns)}")
        assert called == ["tools/plan.py", word, *patterns]
    for words, added in (
        ("RUNS=missing", ["missing"]),
        ("WORKERS=2", ["--workers", "2"]),
        ("SCHEDULER=tcp://host:8786", ["--scheduler", "tcp://host:8786"]),
    ):
        assert handed("retrain", words) == ["tools/plan.py", "train", *added]


def test_reproduce_builds_the_report_of_what_it_ran_and_report_the_written_one():
    assert "tools/report.py last" in make("-n", "reproduce").stdout
    assert "tools/report.py full" in make("-n", "report").stdout


def test_demo_takes_a_path_with_spaces_or_a_camera():
    assert handed("demo", "INPUT=my photos/") == ["-m", "apps.demo", "my photos/"]
    notebooks = handed("photos", "FOLDER=Anna's photos/")[:4]
    assert notebooks == ["tools/notebooks.py", "on", "Anna's photos/", "full"]
    camera = handed("demo", "INPUT=--camera 0")
    assert camera == ["-m", "apps.demo", "--camera", "0"]
    assert handed("demo")[:2] == ["-m", "apps.page"]


def test_collect_opens_its_page_or_does_one_step():
    page = handed("collect", "FOLDER=Anna's birds/")
    assert page == ["-m", "apps.collect", "page", "Anna's birds/"]
    assert handed("collect", "STEP=split")[2:] == ["split", "photos"]


@pytest.mark.parametrize(
    "name, lines",
    [
        ("notebooks", ["sync", "run quick", "run full", "on digits quick"]),
        (
            "plan",
            [
                "list",
                "list cifar10/* */dense",
                "train",
                "train missing cifar10",
                "train x --workers 2",
            ],
        ),
        ("report", ["full", "quick", "last", "readme"]),
        ("publish", ["submission", "pages"]),
        ("check", [""]),
        ("bench", ["", "--workers"]),
        ("baselines", ["", "20"]),
        ("apps.demo", ["photo.jpg", "--camera 0 --output build/live"]),
        ("apps.page", ["", "--port 7861"]),
        ("screenshot", [""]),
        ("apps.collect", ["page birds", "page birds --port 7861", "split birds/"]),
        ("venv", [".venv", ".venv-oldest --constraint tools/oldest.txt"]),
    ],
)
def test_a_tool_explains_its_command_line_and_refuses_another(name, lines, capsys):
    parser = importlib.import_module(name).parser()
    for line in lines:
        parser.parse_args(shlex.split(line))
    with pytest.raises(SystemExit, match="0"):
        parser.parse_args(["--help"])
    said = "".join(capsys.readouterr().out.split())
    assert "".join(parser.description.split()) in said
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--nonsense", "1", "2", "3"])
    assert "error: " in capsys.readouterr().err


def test_the_packages_are_installed_and_a_checkout_can_put_its_own_before(copy):
    nowhere = os.environ.copy()
    nowhere.pop("PYTHONPATH")
    done = subprocess.run(
        [sys.executable, "-c", WHERE],
        cwd=copy.parent,
        capture_output=True,
        text=True,
        env=nowhere,
    )
    lab, apps = done.stdout.split("\n")[:2]
    assert lab.endswith("/notebooks/lab/__init__.py")
    assert apps.endswith("/apps/__init__.py")
    (copy / "tools" / "where.py").write_text(WHERE)
    folders = (copy / "notebooks" / "lab", copy / "apps")
    expected = [str(folder / "__init__.py") for folder in folders]
    assert tool(copy, "where.py").stdout.splitlines() == expected


def test_a_tool_leaves_the_files_of_another_checkout_alone(copy):
    done = tool(copy, "plan.py", "list", PYTHONPATH=packages(ROOT))
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == f"The package lab is the one of {ROOT}, not of this checkout: set"
        f" PYTHONPATH={packages(copy)} and run again."
    )


def test_ci_runs_the_tests_the_check_and_the_notebooks(tmp_path):
    log = tmp_path / "log"
    script = f'#!/bin/sh\necho "$@" >> "{log}"\n'
    for name in (".ci/run", "bin/make", ".venv/bin/python"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script if name != ".ci/run" else (ROOT / name).read_text())
        path.chmod(0o755)
    found = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    subprocess.run([tmp_path / ".ci" / "run"], check=True, env={"PATH": found})
    said = log.read_text().splitlines()
    assert said == ["test", "check", "tools/notebooks.py run quick"]


def test_the_address_stands_once():
    from mutate import tracked
    from notebooks import project

    address = project()["repository"].encode()
    holding = {
        path.relative_to(ROOT).as_posix()
        for path in tracked()
        if address in path.read_bytes()
    }
    written_by_tools = {
        f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")
    }
    assert "pyproject.toml" in holding
    assert holding - written_by_tools <= {
        "pyproject.toml",
        "report/generated/numbers.tex",
    }


def test_check_reminds_of_what_still_has_the_examples_name(monkeypatch):
    import check
    import notebooks

    mine = {
        "repository": "https://gitlab.com/ada/coursework",
        "title": "T",
        "author": "Ada",
        "course": "Vision 101",
    }
    monkeypatch.setattr(notebooks, "project", lambda: mine)
    monkeypatch.setattr(check.own, "open_places", dict)  # of a data base of one's own
    *_, unused = check.reminders()
    assert "does not show: 01_" in unused and "01_balance" not in unused
    for changed in mine:
        if changed != "title":
            example = {
                "repository": "https://gitlab.com/OWNER/coursework",
                "author": "Dense to Conv",
                "course": "Image classification coursework",
            }
            about = mine | {changed: example[changed]}
            monkeypatch.setattr(notebooks, "project", lambda about=about: about)
            reminder, *_ = check.reminders()
            assert f"the example's {changed}, {example[changed]}" in reminder


def test_check_says_how_closely_another_result_must_agree():
    import check
    import report
    from lab.taught import prediction_interval

    header, *rows = check.levels()
    assert (
        header.split()[-4:] == ["exact", "same", "weights", "retrained"]
        and len(rows) >= 10
    )
    groups = {"/".join(key): group for key, group in report.runs_in(check.RUNS).items()}
    for row in rows:
        name, accuracy, turning, interval = re.fullmatch(
            r"(\S+) +([\d.]+) +± ([\d.]+) +(.+)", row
        ).groups()
        values = groups[name].values("test", "accuracy")
        assert float(accuracy) == pytest.approx(100 * values[0], abs=0.006), name
        assert 0 <= float(turning) < 2, name
        if "to" in interval:
            low, high = map(float, interval.split(" to "))
            expected = 100 * np.array(prediction_interval(values))
            assert (low, high) == pytest.approx(expected, abs=0.06), name


@pytest.fixture
def environment():
    """tools/venv.py, whose name is that of a module of Python, too."""
    made = importlib.util.spec_from_file_location("made", ROOT / "tools" / "venv.py")
    made.loader.exec_module(module := importlib.util.module_from_spec(made))
    return module


@pytest.mark.parametrize("version", [(3, 9, 1), (3, 14, 0)])
def test_another_python_is_one_sentence(version, environment, monkeypatch):
    other = SimpleNamespace(
        version_info=version, version="3", executable="python", exit=sys.exit
    )
    monkeypatch.setattr(environment, "sys", other)
    said = "Python 3.10 to 3.13 is needed, .* make quick PYTHON=python3.12"
    with pytest.raises(SystemExit, match=said):
        environment.main("none")


def test_a_missing_part_of_python_is_named(environment, monkeypatch):
    monkeypatch.setattr(environment, "has_ensurepip", lambda: False)
    monkeypatch.setattr(environment.os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"apt-get install\s+python3\.\d+-venv"):
        environment.main("none")
