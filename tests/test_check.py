"""What `make check` names, on copies of a run, of a notebook, and of everything."""

import json
import shutil

import keras
import nbformat
import numpy as np
import pytest

import check
import mutate
import notebooks
import words
from conftest import ROOT, tool
from lab import datasets, models
from lab.plumbing import records
from lab.plumbing.files import sha256
from lab.plumbing.fingerprint import fingerprint
from lab.plumbing.numbers import Number
from lab.plumbing.reading import read_splits, split_hash
from lab.recipes import Job, Recipe
from lab.runs import Run

RUNS = ROOT / "data" / "runs"


@pytest.fixture
def run(tmp_path):
    """A copy of a stored run in a place of the same name."""
    name = "fer2013/dense/main/seed-0"
    return shutil.copytree(RUNS / name, tmp_path / "data" / "runs" / name)


def found(function, *arguments):
    """Return the sentences of a check as one text."""
    return "\n".join(text for _, text in check.findings("item", function, arguments))


def test_a_stored_run_agrees_with_itself(run):
    assert found(check.check_run, run) == ""


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"recipe__learning_rate": 0.5}, "recipe is not what its fingerprint"),
        ({"recipe__luck": 7}, "recipe is not what its fingerprint"),
        ({"parameters": lambda n: n + 1}, "parameters is not what its fingerprint"),
        ({"pflop": lambda n: 2 * n}, "pflop is not what its fingerprint"),
        ({"protocol": 2}, "protocol is not what its fingerprint"),
        ({"fingerprint": "0" * 64}, "has changed since it was trained"),
        ({"epochs_run": 3}, "run.json says 3"),
        ({"metrics__test__luck": 1.0}, "test luck is 'nothing'"),
        ({"metrics__test__macro_f1": None}, "test macro_f1 is 0."),
        ({"finished_at": None}, "cannot be read (KeyError: 'finished_at')"),
        ({"recipe": None}, "cannot be read (KeyError: 'recipe')"),
        ({"metrics__test__accuracy": "good"}, "cannot be read"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_record_that_contradicts_its_fingerprint_or_files_is_named(
    run, fields, named
):
    mutate.record(**fields)(run / "run.json")
    assert named in found(check.check_run, run)


def test_answers_to_corrupted_images_that_no_job_asks_for_are_named(run):
    more = {"corrupted_right": np.zeros((5, 2)), "corruptions": np.array(["salt 0"])}
    mutate.predictions(lambda arrays: arrays.update(more))(run / "predictions.npz")
    text = found(check.check_run, run)
    assert "its job and its files disagree" in text
    assert "corrupted images are other ones" in text and "make retrain RUNS=" in text


@pytest.mark.parametrize("array", ["validation_labels", "test_labels", "test_leaked"])
def test_labels_and_marks_that_are_not_the_sets_are_named(run, array):
    mutate.predictions(mutate.turned(array))(run / "predictions.npz")
    assert (
        found(check.check_run, run)
        == f"{run}/predictions.npz: {array} are not those of FER2013"
    )


def test_stored_labels_are_those_of_the_sets(offline):
    for name, arrays in check.STORED.items():
        dataset = datasets.load(name)
        if not dataset.available:
            pytest.skip(f"the files of {name} are not here")
        for array, digest in arrays.items():
            split, what = array.split("_")
            if what == "labels":
                labels = dataset.split(split)[1].astype("<i8")
                assert sha256(labels.tobytes()) == digest


def test_the_hashes_of_splits_are_those_of_the_known_sets(tmp_path, monkeypatch):
    for name, known in datasets.KNOWN.items():
        assert found(check.check_splits, name) == ""
        splits = read_splits(known)
        assert split_hash(splits) == known.split_sha256
        assert len(splits["training"]) == check.SIZES[name]
    (tmp_path / "splits").mkdir()
    path = shutil.copy(ROOT / "data" / "splits" / "digits.npz", tmp_path / "splits")
    monkeypatch.setattr(check, "DATA", tmp_path)
    mutate.bit(tmp_path / "splits" / "digits.npz")
    assert "missing or altered" in found(check.check_splits, "digits"), path
    assert "missing or altered" in found(check.check_splits, "cifar10")


def test_two_seeds_with_the_same_weights_or_predictions_are_named(run, monkeypatch):
    monkeypatch.setattr(check, "RUNS", run.parents[3])
    other = shutil.copytree(run, run.with_name("seed-1"))
    mutate.record(seed=1, weights_sha256="another", weights_file_sha256="one")(
        other / "run.json"
    )
    text = found(check.check_alike)
    assert f"{other}: its test_probabilities are those of {run}" in text
    assert "its weights" not in text
    shutil.copytree(RUNS / "fer2013/dense/main/seed-1", other, dirs_exist_ok=True)
    check.stored.cache_clear()
    assert found(check.check_alike) == ""
    mutate.record(
        weights_sha256=json.loads((run / "run.json").read_text())["weights_sha256"]
    )(other / "run.json")
    check.stored.cache_clear()
    assert f"{other}: its weights are those of {run}" in found(check.check_alike)


class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def build_mine(shape, classes):
    """A network with a layer of its own, whose input nobody has named."""
    head = keras.layers.Dense(classes, activation="softmax")
    return keras.Sequential([keras.layers.Flatten(), Twice(), head])


def test_a_run_of_an_own_network_agrees_with_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "build_mine", build_mine, raising=False)
    known, recipe = datasets.KNOWN["digits"], Recipe(epochs=500)
    job = Job("digits", "mine", "main", 0, recipe, build_mine)
    weights, inputs = 10 * 257, 10 * 256
    record = records.asked(job, known) | {
        "fingerprint": fingerprint(job, known),
        "protocol": check.PROTOCOL,
        "parameters": weights,
        "epochs_run": 500,
        "pflop": round(3 * 2 * inputs * check.SIZES["digits"] * 500 / 1e15, 6),
        "metrics": {},
    }
    run = Run(tmp_path / "digits/mine/main/seed-0", record, None, {})
    assert found(check.check_job, run, known) == ""
    record["parameters"] += 1
    assert f"({weights})" in found(check.check_job, run, known)


def test_what_nothing_reads_in_data_is_named(run, tmp_path, monkeypatch):
    runs = run.parents[3]
    for name, value in {"DATA": runs.parent, "RUNS": runs, "NEXT": runs / "no"}.items():
        monkeypatch.setattr(check, name, value)
    read = {run.relative_to(runs).as_posix()}
    monkeypatch.setattr(check, "stamps", lambda: {"one": {"runs": read}})
    (run / ".hidden").touch()
    assert found(check.check_unread) == ""
    (runs / "cifar10" / "dense" / "empty").mkdir(parents=True)
    shutil.copytree(run, runs / "cifar10" / "dense" / "tried" / "seed-0")
    shutil.copytree(run, runs / "birds" / "dense" / "main" / "seed-0")  # one's own
    (run / "notes.txt").touch()
    (runs.parent / "more.json").touch()
    named = found(check.check_unread).splitlines()
    for path, line in zip(
        (
            runs.parent / "more.json",
            runs / "cifar10" / "dense" / "empty",
            run / "notes.txt",
            runs / "cifar10" / "dense" / "tried" / "seed-0",
        ),
        named,
        strict=True,
    ):
        assert line.startswith(str(path))


def book(tmp_path):
    """Return the path of a small notebook that has been run and stamped."""
    cells = [
        nbformat.v4.new_code_cell(
            f"show({i})",
            execution_count=i,
            outputs=[
                nbformat.v4.new_output("stream", text=f"line {i}\n"),
                nbformat.v4.new_output(
                    "display_data",
                    {"text/html": "<td>1</td>", "text/plain": "1", "image/png": "AA"},
                ),
            ],
        )
        for i in (1, 2, 3)
    ]
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# 1"), *cells]
    )
    made.metadata["lab"] = notebooks.stamp(made, {}, {})
    path = tmp_path / "01_small.ipynb"
    notebooks.save(path, made)
    return path


@pytest.mark.parametrize(
    "change, named",
    [
        (mutate.first("text", "line 1", "line 2"), "code cell 1 of 3"),
        (mutate.first("text/html", "1", "2"), "code cell 1 of 3"),
        (mutate.first("text/plain", "1", "2"), "code cell 1 of 3"),
        (mutate.first("image/png", "A", "B"), "code cell 1 of 3"),
        (mutate.cells("text", mutate.silent), "code cell 1 of 3"),
        (mutate.cells("text", mutate.swapped), "code cell 1, 3 of 3"),
        (mutate.cells("text", mutate.speechless), "code cell 1, 2, 3 of 3"),
        (mutate.cells("text", mutate.numbered), "code cell 1 of 3"),
        (mutate.cells("text", mutate.doubled), "other code cells than its run"),
        (mutate.stamped("outputs", []), "other code cells than its run"),
        (mutate.word("show(2)", "show(4)"), "a code cell has changed"),
        (mutate.cut, "cannot be read as a notebook"),
        (mutate.becomes("[]"), "cannot be read as a notebook"),
        (mutate.becomes("{}"), "cannot be read as a notebook"),
    ],
)
def test_changed_outputs_of_a_notebook_are_named(tmp_path, change, named):
    path = book(tmp_path)
    assert found(check.check_outputs, path) == ""
    change(path)
    assert named in found(check.check_outputs, path)


def test_prose_can_be_edited_and_a_stamp_without_outputs_asks_for_a_run(tmp_path):
    path = book(tmp_path)
    mutate.word("# 1", "# 2")(path)
    assert found(check.check_outputs, path) == ""
    made = notebooks.read(path)
    del made.metadata["lab"]["outputs"]
    notebooks.save(path, made)
    assert found(check.check_outputs, path).endswith(
        "has not been run by tools since stamps cover outputs: make reproduce"
    )


def test_an_older_report_with_an_edited_stamp_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "GENERATED", tmp_path / "generated")
    monkeypatch.setattr(check, "PDF", tmp_path / "report.pdf")
    monkeypatch.setattr(check.report, "inputs", lambda: "a" * 64)
    (tmp_path / "generated").mkdir()

    def built(mark):
        check.PDF.write_bytes(b"%PDF\xff" + mark.encode())
        stamp = {"inputs": "a" * 64, "pdf": sha256(check.PDF)}
        (check.GENERATED / "stamp.json").write_text(json.dumps(stamp))
        return found(check.check_report)

    assert built(f"/Sources ({'a' * 64})") == ""
    assert "says that it was built from other" in built(f"/Sources ({'b' * 64})")
    assert "does not name its sources" in built("")


def test_the_metrics_of_a_forged_answer_are_computed_anew(run):
    with np.load(run / "predictions.npz") as stored:
        arrays = dict(stored)
    arrays["test_probabilities"][:100] = np.eye(7)[arrays["test_labels"][:100]]
    np.savez_compressed(run / "predictions.npz", **arrays)
    assert "another hash" in found(check.check_run, run)
    mutate.record(predictions_sha256=sha256(run / "predictions.npz"))(run / "run.json")
    check.stored.cache_clear()
    assert "run.json: test accuracy is 0." in found(check.check_run, run)


@pytest.mark.long
def test_check_names_each_of_many_changes_although_some_files_are_damaged(copy):
    data, figures, generated = (
        copy / "data",
        copy / "figures",
        copy / "report" / "generated",
    )
    clothes = data / "runs" / "fashion_mnist"
    mutate.digit('"accuracy": 0.')(clothes / "dense" / "main" / "seed-0" / "run.json")
    mutate.cut(clothes / "two_conv" / "main" / "seed-1" / "run.json")
    mutate.gone(data / "runs" / "cifar10" / "dense" / "main" / "seed-0" / "history.csv")
    mutate.cut(copy / "notebooks" / "01_dataset_exploration.ipynb")
    mutate.cut(generated / "02_dense_baseline.json")
    mutate.gone(data / "splits" / "fer2013.npz")
    mutate.digit("cifar10.improved.test.accuracy}{")(generated / "numbers.tex")
    mutate.word(".start(", ".start( ")(copy / "notebooks" / "04_improved_cnn.ipynb")
    mutate.digit("Trouser,")(figures / "05_confusion_fashion_mnist_improved.csv")
    (figures / "05_old.png").touch()
    mutate.word("the", "thee")(copy / "report" / "sections" / "4_conclusion.tex")
    mutate.digit("<!-- results:start -->")(copy / "README.md")
    mutate.digit('"test_accuracy": 0.')(data / "baselines.json")
    taught = copy / "notebooks" / "lab" / "taught.py"
    mutate.word("Return softmax", "Give softmax")(taught)
    done = tool(copy, "check.py")
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    for named in (
        "dense/main/seed-0/run.json: test accuracy is",
        "fashion_mnist/two_conv/main/seed-1: The run in",
        "cifar10/dense/main/seed-0 is damaged",
        "01_dataset_exploration.ipynb cannot be read as a notebook",
        "02_dense_baseline.json: cannot be read",
        "data/splits/fer2013.npz is missing or altered",
        r"numbers.tex is not what the results give: \defresult{cifar10.improved",
        "notebooks/lab/taught.py lacks a cell",
        "04_improved_cnn.ipynb: a code cell has changed",
        "05_confusion_fashion_mnist_improved.csv is not the confusion matrix",
        "figures/05_old.png is written by no notebook",
        "report.pdf was built from other",
        "README.md: its table",
        ": the test accuracy is",
    ):
        assert named in done.stdout, f"{named}\n{done.stdout}"


@pytest.mark.long
def test_check_passes_on_what_is_committed_and_names_a_changed_line_of_lab(copy):
    path = copy / "notebooks" / "lab" / "drawing" / "base.py"
    mutate.word("WIDTH = 6.3  # inches", "WIDTH = 6.3  # Inches")(path)
    done = tool(copy, "check.py")
    assert done.returncode == 0, done.stdout + done.stderr
    mutate.word("WIDTH = 6.3", "WIDTH = 6.4")(path)
    assert f"{path.relative_to(copy)}" not in done.stdout
    book = copy / "notebooks" / "05_analysis.ipynb"
    done = tool(copy, "check.py")
    assert done.returncode == 1
    assert f"{book.name}: the code of notebooks/lab has changed" in done.stdout


@pytest.mark.parametrize(
    "name, change",
    [
        ("notebooks/lab/models.py", mutate.word("import", "imp ort")),
        ("tools/report.py", mutate.word("KNOWN", "UNKNOWN")),
    ],
)
def test_code_that_cannot_be_imported_is_one_sentence(copy, name, change):
    change(copy / name)
    done = tool(copy, "check.py")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{name} cannot be imported" in done.stderr


def test_a_copy_is_made_without_git_and_put_right_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    copy = mutate.copied(tmp_path / "copy")
    names = {path.relative_to(copy).parts[0] for path in mutate.tracked(copy)}
    assert {"Makefile", ".ci", ".gitignore", "notebooks", "data"} <= names
    assert not {".git", ".venv", "build"} & {path.name for path in copy.iterdir()}
    content = {path: path.read_bytes() for path in mutate.tracked(copy)}
    mutate.gone(copy / "data" / "runs")
    mutate.becomes("x")(copy / "figures" / "new" / "x.png")
    mutate.cut(copy / "README.md")
    mutate.restored(copy, content)
    assert content == {path: path.read_bytes() for path in mutate.tracked(copy)}
    assert not (copy / "figures" / "new").exists()


def test_no_two_changes_of_a_round_are_named_by_the_same_lines():
    table = mutate.rounds(ROOT)
    assert sum(map(len, table)) >= 100
    for changes in table:
        places = [path for path, *_ in changes]
        assert len(set(places)) == len(places)


def test_numbers_typed_in_pages_and_notebooks_are_named(tmp_path):
    numbers = {"a.seconds": Number(90, "minutes")}
    text = "# 01 · It\n\nAfter {} we had {}.\n\n## Questions\n\nAre 12 % enough?"
    marked = "<!-- a.seconds -->{} minutes<!-- -->"
    page, book = tmp_path / "page.md", tmp_path / "book.ipynb"

    def faults(*given):
        page.write_text(text.format(*given).split("## Q")[0])
        cells = [
            nbformat.v4.new_markdown_cell(text.format(*given)),
            nbformat.v4.new_code_cell("'12 %'"),
        ]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), book)
        on_page, in_book = (list(words.typed(path, numbers)) for path in (page, book))
        assert on_page == in_book
        return on_page

    assert faults(marked.format("1.5"), "95 % and `12 %`") == []
    assert faults(marked.format("1.6"), "95 %") == [
        "a.seconds is 1.5 minutes, not 1.6 minutes"
    ]
    [fault] = faults("13 minutes", "95 %")
    assert fault.startswith("'13 minutes' is typed")
    [fault] = faults("<!-- b -->13 minutes<!-- -->", "95 %")
    assert fault == "b is no result, not 13 minutes"


def test_sentences_that_compare_are_listed(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\nIt is 3 wide. It is\nmore accurate. It ends.\n\nBest of all!"
    )
    assert list(words.claims(page)) == ["It is more accurate.", "Best of all!"]
    for name, value in (("ROOT", tmp_path), ("pages", lambda: [page])):
        monkeypatch.setattr(check, name, value)
    check.list_claims()
    assert "    Best of all!\n" in capsys.readouterr().out
