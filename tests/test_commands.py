"""The commands of the README, as far as they can be seen without running them."""
import re
import shlex
import subprocess

from conftest import ROOT


def make(*arguments):
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_make_alone_lists_every_command_of_the_readme_with_a_line_each():
    listed = make().stdout
    for command in set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), flags=re.M)):
        assert re.search(rf"^  make {command} +\S", listed, flags=re.M), command


def test_every_command_of_the_readme_is_one_that_make_can_run():
    text = (ROOT / "README.md").read_text()
    commands = {line.strip("`") for line in re.findall(r"(?:^make [^\n`]+$|`make [^`]+`)", text, flags=re.M)}
    assert {"make quick", "make test", "make reproduce", "make check"} <= commands
    for command in commands:
        done = make("-n", *shlex.split(command)[1:])
        assert done.returncode == 0 and done.stdout, f"{command}: {done.stderr}"


def test_plan_and_retrain_are_narrowed_by_patterns():
    for command, words in (("plan", "list"), ("retrain", "train")):
        assert f"plan.py {words} 'cifar10/improved/*' '*/dense'" in make("-n", command, "RUNS=cifar10/improved/* */dense").stdout
    assert "plan.py train missing" in make("-n", "retrain", "RUNS=missing").stdout.replace("'", "")


def test_demo_takes_a_path_with_spaces_or_a_camera():
    assert 'tools/demo.py "$INPUT"' in make("-n", "demo", "INPUT=my photos/").stdout  # make puts INPUT into the environment
    assert 'notebooks.py on "$FOLDER" full' in make("-n", "photos", "FOLDER=Anna's photos/").stdout
    assert "tools/demo.py --camera 0" in make("-n", "demo", "INPUT=--camera 0").stdout
    assert "tools/page.py" in make("-n", "demo").stdout


def test_ci_calls_make_test():
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_address_stands_once():
    from notebooks import project

    tracked = subprocess.run(["git", "grep", "-l", "--fixed-strings", project()["repository"]], cwd=ROOT, capture_output=True, text=True)
    written_by_tools = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(tracked.stdout.split()) - written_by_tools <= {"pyproject.toml", "report/generated/numbers.tex"}


def test_check_reminds_of_what_still_has_the_examples_name(monkeypatch):
    import check
    import notebooks

    mine = {"repository": "https://gitlab.com/ada/coursework", "title": "T", "author": "Ada", "course": "Vision 101"}
    monkeypatch.setattr(notebooks, "project", lambda: mine)
    *_, unused = check.reminders()
    assert "does not show: 01_" in unused and "05_networks" not in unused
    for changed in mine:
        if changed != "title":
            example = {"repository": "https://gitlab.com/OWNER/coursework", "author": "Dense to Conv", "course": "Image classification coursework"}
            monkeypatch.setattr(notebooks, "project", lambda: mine | {changed: example[changed]})
            reminder, *_ = check.reminders()
            assert f"the example's {changed}, {example[changed]}" in reminder


def test_check_says_how_closely_another_result_must_agree():
    import check

    header, *rows = check.levels()
    assert header.split()[-4:] == ["exact", "same", "weights", "retrained"] and len(rows) >= 10
    for row in rows:
        name, accuracy, turning, interval = re.fullmatch(r"(\S+) +([\d.]+) +± ([\d.]+) +(.+)", row).groups()
        assert 30 < float(accuracy) < 100 and 0 <= float(turning) < 2, name
        if "to" in interval:
            low, high = map(float, interval.split(" to "))
            assert low < high
