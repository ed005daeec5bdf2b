from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from sklearn import calibration
from sklearn.metrics import f1_score
from sklearn.neighbors import NearestNeighbors
from statsmodels.stats.contingency_tables import mcnemar as other_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from conftest import train
from lab import (
    LabError,
    figures,
    metrics,
    models,
    parts,
    predict,
    statistics,
    tables,
    taught,
    training,
)
from lab.plumbing import records
from lab.runs import Run, Seeds, headline


def run_that_is_right(right, seed=0, model="dense"):
    """A run on two classes; `right` says which test images it has right."""
    labels = np.arange(len(right)) % 2
    said = np.where(right, labels, 1 - labels)
    accuracy = {"accuracy": float(np.mean(right))}
    return Run(
        None,
        {"seed": seed, "model": model, "metrics": {"test": accuracy}},
        None,
        {
            "test_probabilities": np.eye(2, dtype=np.float16)[said],
            "test_labels": labels,
        },
    )


def mask(n, true):
    return np.isin(np.arange(n), true)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_is_that_of_statsmodels(pairs):
    before, after = np.array(pairs).T
    b, c, p = taught.mcnemar(before, after)
    table = [
        [(before & after).sum(), (before & ~after).sum()],
        [(~before & after).sum(), (~before & ~after).sum()],
    ]
    assert (b, c) == (table[0][1], table[1][0])
    assert p == pytest.approx(other_mcnemar(table, exact=True).pvalue)


@given(
    st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_intervals_and_holm_are_those_of_statsmodels(share, p_values):
    right, n = share
    assert statistics.wilson(right / n, n) == pytest.approx(
        proportion_confint(right, n, method="wilson"), abs=1e-7
    )
    assert taught.holm(p_values) == pytest.approx(
        multipletests(p_values, method="holm")[1]
    )


def test_networks_are_compared_on_the_images_that_divide_them():
    n = 400
    right = {
        "D": [range(200), range(210)],
        "1": [range(20, 300), range(302)],
        "2": [range(22, 301)],
    }
    runs = {
        model: Seeds(
            run_that_is_right(mask(n, places), seed, model)
            for seed, places in enumerate(each)
        )
        for model, each in right.items()
    }
    table = tables.compare(runs)
    assert table.index.tolist() == ["D, 1", "D, 2", "1, 2"]
    first = table.loc["D, 1"]
    assert (first["only first"], first["only second"], first["verdict"]) == (
        "20",
        "100",
        "second better",
    )
    # (280 - 200) / 400 and (302 - 210) / 400
    assert first["difference"] == "+21.5" and first["g"] == "+0.33"
    p = stats.ttest_ind([200, 210], [280, 302], equal_var=False).pvalue
    assert first["p"] == "< 0.001" and first["p seeds"] == f"{p:.3f}"
    assert (
        table.loc["D, 2", "verdict"] == "second better"
        and table.loc["D, 2", "p seeds"] == ""
    )  # one seed: McNemar alone
    assert (
        table.loc["1, 2", "verdict"] == "cannot tell"
        and table.loc["1, 2", "p"] == "1.000"
    )


def test_no_network_is_called_better_that_the_seeds_do_not_prove():
    counts = {"dense": (200, 200, 200), "one_conv": (300, 190, 260)}
    runs = {
        model: Seeds(
            run_that_is_right(mask(400, range(n)), seed, model)
            for seed, n in enumerate(each)
        )
        for model, each in counts.items()
    }
    row = tables.compare(runs).iloc[0]
    assert row["p"] == "< 0.001" and row["difference"] == "+12.5"
    assert row["verdict"] == "cannot tell"
    assert float(row["p seeds"]) == pytest.approx(
        stats.ttest_ind((300, 190, 260), (200, 200, 200), equal_var=False).pvalue,
        abs=5e-4,
    )


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
    st.lists(st.floats(0, 1), min_size=2, max_size=6),
)
def test_welch_is_that_of_scipy(first, second):
    if np.var(first) + np.var(second) > 1e-12:
        expected = stats.ttest_ind(first, second, equal_var=False).pvalue
        assert taught.welch(first, second) == pytest.approx(expected)
    assert np.isnan(taught.welch([0.5], second))
    assert taught.welch([0.5, 0.5], [0.5, 0.5]) == 1
    assert taught.welch([0.5, 0.5], [0.6, 0.6]) == 0


def test_intervals_of_classes_hold_their_values_and_agree_with_a_plain_bootstrap():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [300, 200, 10])
    p = rng.random((len(labels), 3)).astype(np.float16)
    p[np.arange(len(labels)), labels] += 0.5
    table = statistics.class_intervals(p, labels, ["a", "b", "c"])
    assert table["support"].tolist() == ["300", "200", "10"]
    value, low, high = (
        float(part)
        for part in (
            table.loc["a", "F1"]
            .replace("(", "")
            .replace(")", "")
            .replace("to ", "")
            .split()
        )
    )
    drawn = []
    for _ in range(500):
        chosen = rng.integers(0, len(labels), len(labels))
        drawn.append(
            100 * metrics.by_class(p[chosen], labels[chosen], "abc")["F1"].iloc[0]
        )
    assert low < value < high
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1)
    nobody = statistics.class_intervals(
        np.eye(2, dtype=np.float16)[[0, 0]], np.array([0, 1]), ["a", "b"]
    )
    assert nobody.loc["b", "precision"] == "none"


def test_calibration_by_hand():
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.45, 0.55]])
    labels = np.array([0, 1, 0, 1])
    table = taught.reliability(p, labels)
    assert table["images"].tolist() == [2, 2] and table["accuracy"].tolist() == [1, 0.5]
    assert taught.calibration_error(table) == pytest.approx((2 * 0.45 + 2 * 0.45) / 4)
    share, accuracy = taught.coverage(p, labels)
    assert share.tolist() == [0.25, 0.5, 0.75, 1]
    assert accuracy == pytest.approx([1, 0.5, 2 / 3, 0.75])
    three = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    assert taught.threshold(three, np.array([0, 0, 1])) == 0.8
    assert taught.threshold(np.array([[0.9, 0.1]]), np.array([1])) == np.inf


@pytest.mark.parametrize("classes", [2, 3])
def test_the_reliability_table_is_that_of_scikit_learn(classes):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1] * classes, 500).astype(np.float16)
    p[:9], labels = 1 / classes, rng.integers(0, classes, 500)  # 0.5 is a bin's edge
    accuracy, confidence = calibration.calibration_curve(
        p.argmax(axis=1) == labels, p.max(axis=1), n_bins=10
    )
    table = taught.reliability(p, labels)
    assert table["accuracy"].tolist() == pytest.approx(accuracy.tolist())
    assert table["confidence"].tolist() == pytest.approx(confidence.tolist())


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 4))
def test_the_temperature_that_spoilt_probabilities_is_found_again(spoilt):
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1, 1], 4000)
    labels = (p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(
        axis=1
    )  # drawn from p, which is so calibrated
    changed = taught.tempered(p, spoilt)
    found = taught.fitted_temperature(changed, labels)
    assert found == pytest.approx(1 / spoilt, rel=0.12)
    mended = taught.tempered(changed, found)
    assert (mended.argmax(axis=1) == p.argmax(axis=1)).mean() > 0.999
    assert mended.sum(axis=1) == pytest.approx(np.ones(len(p)))


def test_a_label_is_doubted_where_another_class_reaches_its_own_threshold():
    p = np.array(
        [[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95], [0.45, 0.55]]
    )
    labels = np.array([0, 0, 1, 1, 0, 0])  # thresholds: 0.525 and 0.85
    positions, other = taught.doubtful(p, labels)
    assert positions.tolist() == [4] and other.tolist() == [
        1
    ]  # 0.55 does not reach 0.85


@pytest.mark.parametrize("kind", taught.CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_corruptions_grow_and_are_the_same_every_time(kind, channels):
    images = np.random.default_rng(0).integers(0, 256, (6, 20, 20, channels))
    images = np.sort(images, axis=1).astype("float32")  # smooth, as pictures are
    (function, amounts), rng = taught.CORRUPTIONS[kind], np.random.default_rng
    changed = [function(images, amount, rng(1)) for amount in amounts]
    again = [function(images, amount, rng(1)) for amount in amounts]
    assert np.array_equal(changed, again)
    assert all(one.shape == images.shape for one in changed)
    far = [np.abs(one - images).mean() for one in changed]
    assert 0 < far[0] < far[1] < far[2]


def test_corruptions_by_hand():
    image = np.array([[0, 100], [50, 250]], "float32").reshape(1, 2, 2, 1)
    assert taught.contrast(image, 0.5, None).ravel().tolist() == [50, 100, 75, 175]
    assert taught.shift(image, 1, None).ravel().tolist() == [0, 0, 0, 0]
    assert taught.brightness(image, 20, None).ravel().tolist() == [20, 120, 70, 270]


def test_what_networks_lose_is_compared_image_by_image():
    class Bright:
        def predict_on_batch(self, images):
            right = images.mean(axis=(1, 2, 3)) < 100
            return np.stack([right, ~right], axis=1).astype("float32")

    images = np.full((4, 2, 2, 1), 50, np.uint8)
    images[3] = 90
    asked = (
        Bright(),
        images,
        np.zeros(4, int),
        {"bright": (taught.brightness, (20, 60))}
        | {name: (taught.brightness, (20, 20)) for name in tables.UNSEEN},
        lambda images, function, amount: function(images.astype(float), amount, None),
    )
    table = statistics.tried(*asked)
    assert table["bright", 0].all() and not table["bright", 2].any()
    assert table["bright", 1].tolist() == [True, True, True, False]
    lost = tables.withstood({"one": table, "same": table}, "T")
    assert lost.loc["T: one", ["lost", "lost, unseen"]].tolist() == ["37.5", "25.0"]
    assert lost.loc["T: same", "lost more"] == "+0.0 (+0.00 to +0.00)"


def test_the_loss_under_each_corruption_is_that_of_the_stored_answers():
    def run(right, names=None):
        names = names or records.spoilt(taught.CORRUPTIONS)
        return SimpleNamespace(
            predictions={"corrupted_right": right, "corruptions": np.array(names)}
        )

    one, two = np.ones((2, 4, 7, 4), bool).reshape(2, 4, 28)
    one[:2, 1:4] = two[0, 1:4] = False  # the first corruption, all strengths
    two[:, -1] = False  # the last one, strength 3
    table = tables.by_corruption({"before": run(one), "after": run(two)}, "T")
    first, *_, last = taught.CORRUPTIONS
    assert list(table) == ["T: before", "T: after"]
    assert table["T: before"][first] == "50.0" and table["T: before"][last] == "100.0"
    assert table["T: after"][first] == "75.0" and table["T: after"][last] == "66.7"
    losses = [row["lost"] for row in table.values()]
    assert losses == [f"{50 / 7:.1f}", f"{25 / 7 + 100 / 21:.1f}"]
    apart = np.array([1, -2, 1, 1]) / 21
    assert table["T: after"]["lost more"] == tables.with_interval(apart)


def test_answers_to_other_corruptions_give_an_empty_row():
    right, names = np.ones((4, 28), bool), records.spoilt(taught.CORRUPTIONS)
    known = {"corrupted_right": right, "corruptions": np.array(names)}
    renamed = known | {"corruptions": np.array(["salt 8", *names[1:]])}
    runs = {
        name: SimpleNamespace(predictions=predictions)
        for name, predictions in (("other", renamed), ("old", {}), ("known", known))
    }
    table = tables.by_corruption(runs, "T")
    assert table["T: other"] == table["T: old"] == {}
    assert table["T: known"]["lost"] == "0.0"
    assert "lost more" not in table["T: known"]  # there is no first network


def test_copies_are_compared_with_others_of_the_same_classes_and_left_out_of_f1():
    right = np.array([1, 1, 1, 0, 1, 0, 1, 1, 1, 0], bool)
    leaked = np.isin(np.arange(10), [1, 3, 5, 4])  # classes 1, 1, 1 and 0
    run = run_that_is_right(right)
    run.predictions["test_leaked"] = leaked
    labels = run.test()[1]
    row = tables.on_copies({"one": Seeds([run])}).loc["one"]
    zeros, ones = (right[~leaked & (labels == k)].mean() for k in (0, 1))
    assert row["leaked"] == f"{100 * right[leaked].mean():.1f}"
    assert row["others"] == f"{100 * right[~leaked].mean():.1f}"
    assert row["others, same classes"] == f"{100 * (zeros + 3 * ones) / 4:.1f}"
    table = tables.class_scores(run, "ab")
    said = run.test()[0].argmax(axis=1)
    expected = 100 * f1_score(labels[~leaked], said[~leaked], average=None)
    assert table["F1, not leaked"].tolist() == [f"{score:.1f}" for score in expected]
    run.predictions["test_leaked"] = np.zeros(10, bool)
    assert "F1, not leaked" not in tables.class_scores(run, "ab")


def test_grad_cam_looks_where_the_class_is_decided():
    inputs = keras.Input((12, 12, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(2, 3, padding="same", use_bias=False)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    network = keras.Model(
        inputs, keras.layers.Dense(2, activation="softmax", use_bias=False)(x)
    )
    bright = np.zeros((3, 3, 1, 2), "float32")
    bright[1, 1, 0] = 1, 0  # the first map is the picture, the second is empty
    network.set_weights([bright, 20 * np.eye(2, dtype="float32")])
    image = np.zeros((1, 12, 12, 1), np.uint8)
    image[0, 2:5, 7:10] = 255
    layer = parts.fine_convolution(network)
    before = network.predict(image, verbose=0)
    for averaged in (True, False):
        heat = taught.grad_cam(network, layer, image, [0], averaged)[0]
        assert heat.shape == (12, 12)
        assert heat[3, 8] == pytest.approx(1) and heat[8, 3] == 0
        # The picture speaks against the second class.
        assert taught.grad_cam(network, layer, image, [1], averaged)[0].max() == 0
    assert np.array_equal(network.predict(image, verbose=0), before)  # softmax again


def test_the_nearest_neighbour_of_a_training_image_is_itself(digits):
    network = training.build(
        models.build_two_conv, digits, models.two_conv_recipe, seed=0
    )
    vectors = taught.features(network, digits.split("training")[0][:60])
    near = taught.nearest(vectors[:4], vectors, count=3)
    assert near[:, 0].tolist() == [0, 1, 2, 3]
    other = NearestNeighbors(n_neighbors=3, metric="cosine").fit(vectors)
    assert np.array_equal(near, other.kneighbors(vectors[:4])[1])


@pytest.fixture(scope="module")
def trained_run(digits, tmp_path_factory):
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("runs")
    return train(digits, replace(models.dense_recipe, epochs=3), folder, weights=True)


def test_predict_answers_on_arrays_files_and_folders(
    digits, trained_run, tmp_path, capsys
):
    images, labels = digits.split("test")
    table = predict(images[:40], digits, trained_run)
    right = [
        answer.split()[0] == digits.classes[label]
        for answer, label in zip(table["answer 1"], labels[:40], strict=True)
    ]
    assert np.mean(right) > 0.5 and len(table) == 40
    assert list(table)[:3] == ["answer 1", "answer 2", "answer 3"]
    for i in range(3):
        Image.fromarray(images[i].squeeze()).resize((64, 64)).save(
            tmp_path / f"{i}.png"
        )
    (tmp_path / "notes.txt").write_text("no picture")
    of_folder = predict(tmp_path, digits, trained_run, top=1)
    assert of_folder.index.tolist() == ["0.png", "1.png", "2.png"]
    assert "answer 2" not in of_folder
    said = capsys.readouterr().out
    assert "notes.txt is left out: not a picture" in said
    assert f"Network: {trained_run.name}\n" in said
    (tmp_path / "leaf").mkdir()
    (tmp_path / "0.png").rename(tmp_path / "leaf" / "1.png")
    both = predict(tmp_path, digits, trained_run)
    assert both.index.tolist() == ["1.png", "2.png", "leaf/1.png"]
    some = [tmp_path / "notes.txt", tmp_path / "1.png", "missing.jpg"]
    assert predict(some, digits, trained_run).index.tolist() == ["1.png"]
    said = capsys.readouterr().out
    assert "notes.txt is left out" in said and "no such file" in said
    assert (
        predict(str(tmp_path / "1.png"), digits, trained_run).iloc[0, 0]
        == predict(tmp_path, digits, trained_run).iloc[0, 0]
    )


@pytest.mark.parametrize(
    "source, said",
    [
        ("missing.jpg", "No picture can be read in missing.jpg"),
        (["missing.jpg"], "No picture can be read in missing.jpg"),
        ([], "The list of pictures is empty"),
        (np.zeros((2, 8, 8)), "float64 \\(2, 8, 8\\)"),
        (np.zeros((0, 8, 8, 1), np.uint8), "\\(0, 8, 8, 1\\)"),
    ],
)
def test_predict_says_what_it_cannot_use(source, said, digits, trained_run):
    with pytest.raises(LabError, match=said):
        predict(source, digits, trained_run)


def test_a_run_may_be_named_by_its_folder(digits, trained_run):
    image = digits.split("test")[0][:1]
    table = predict(image, digits, str(trained_run.path))
    assert table.equals(predict(image, digits, trained_run))
    with pytest.raises(LabError, match="no finished run in data/runs/digits/mine"):
        predict(image, digits, "data/runs/digits/mine")
    with pytest.raises(LabError, match="run is Seeds: give one Run"):
        predict(image, digits, Seeds([trained_run]))


def test_predict_says_that_there_is_no_such_data_set():
    with pytest.raises(LabError, match="no data set called 'cifar'"):
        predict("photo.jpg", "cifar")


def test_a_diagram_shows_every_shape_of_the_network():
    figure = figures.diagram(
        models.build_two_conv((28, 28, 1), 10), models.build_improved((32, 32, 3), 10)
    )
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {
        "28×28×32",
        "14×14×64",
        "3136",
        "31×31×24",
        "3×3×256",
        "conv 2×2\ngelu",
        "dense\nscale\nsoftmax",
    } <= set(said)
    assert sum(len(axes.patches) for axes in figure.axes) == 8 + 13


def test_a_diagram_has_an_arrow_for_each_skip_connection():
    def arrows(network):
        texts = [text for axes in figures.diagram(network).axes for text in axes.texts]
        bent = [text for text in texts if getattr(text, "arrow_patch", None)]
        kinds = [text.arrow_patch.get_connectionstyle().rad for text in bent]
        notes = [text.get_text() for text in texts]
        return sum(map(bool, kinds)), notes.count("conv 3×3\nnormalise\nadd\ngelu")

    assert arrows(models.build_improved((32, 32, 3), 10, skip=True)) == (3, 3)
    assert arrows(models.build_improved((32, 32, 3), 10)) == (0, 0)
    inputs = keras.Input((8, 8, 1))
    x = first = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    for _ in range(8):  # more layers than a row holds: the sum reaches back over rows
        x = keras.layers.Conv2D(4, 3, padding="same")(x)
    x = keras.layers.Add()([x, first])
    assert arrows(keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(x)))[0] == 0


def test_a_refit_has_a_column_in_the_table_of_scores():
    runs = Path(__file__).parents[1] / "data" / "runs" / "fashion_mnist"
    seeds = {m: headline(runs / m / "main")[0] for m in ("dense", "improved")}
    refit, _ = headline(runs / "improved" / "refit")
    table = tables.scores(seeds, {"improved": refit})
    assert list(table.columns[:4]) == ["accuracy", "interval", "views", "refit"]
    expected = ["", refit.percent("test", "accuracy_tta")]
    assert list(table["refit"]) == expected
    assert "refit" not in tables.scores(seeds, {}) and "refit" not in tables.scores(
        seeds
    )
    plain = tables.scores(seeds, {"dense": seeds["dense"]})
    assert plain["refit"]["dense"] == seeds["dense"].percent()


def test_heat_is_that_of_a_sum_where_a_block_has_a_skip_connection():
    small = models.build_improved((32, 32, 3), 10, skip=True)
    assert parts.fine_convolution(small).output.shape[1:] == (15, 15, 256)
    large = models.build_improved((96, 96, 3), 10, skip=True)
    assert isinstance(parts.fine_convolution(large), keras.layers.Add)


def test_a_network_without_errors_has_no_confusions():
    class Perfect(list):
        title = "Dense"

    run = SimpleNamespace(test=lambda: (np.eye(3), np.arange(3)))
    table = tables.confusions({"dense": Perfect([run])}, "abc")
    assert list(table) == ["Dense"] and table.iloc[:1, 0].sum() == 0
