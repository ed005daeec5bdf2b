import csv
import io
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lab import metrics, statistics, tables, taught
from lab.drawing.output import confusion_csv
from lab.runs import Run, Seeds

PROBABILITIES = np.array(
    [[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.0, 0.0, 1.0]], np.float16
)
LABELS = np.array([0, 1, 1, 2])


def test_metrics_by_hand():
    found = metrics.measure(PROBABILITIES, LABELS)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["log_loss"] == pytest.approx(
        -np.log([0.9, 0.5, 0.3, 1.0]).mean(), abs=1e-3
    )


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)
)
def test_a_confusion_matrix_counts_every_image_once(pairs):
    labels = np.array([true for true, _ in pairs])
    probabilities = np.eye(4, dtype=np.float16)[[said for _, said in pairs]]
    matrix = metrics.confusion(probabilities, labels)
    assert matrix.sum(axis=1).tolist() == np.bincount(labels, minlength=4).tolist()
    assert np.trace(matrix) / len(pairs) == pytest.approx(
        metrics.measure(probabilities, labels)["accuracy"]
    )
    table = metrics.by_class(probabilities, labels, list("abcd"))
    assert table["support"].tolist() == matrix.sum(axis=1).tolist()


def test_a_confusion_matrix_survives_class_names_with_commas():
    classes = ["cat, small", "dog"]
    rows = list(
        csv.reader(io.StringIO(confusion_csv(np.array([[3, 1], [0, 4]]), classes)))
    )
    assert rows[0][1:] == classes and rows[1] == ["cat, small", "3", "1"]


def test_confident_errors_are_wrong_and_in_order():
    assert metrics.confident_errors(PROBABILITIES, LABELS).tolist() == [2]
    assert metrics.largest_confusions(
        metrics.confusion(PROBABILITIES, LABELS), "abc", n=1
    ) == [("b", "a", 1)]


def test_no_error_is_no_confusion():
    assert metrics.largest_confusions(np.array([[3, 0], [2, 1]]), "ab", n=3) == [
        ("b", "a", 2)
    ]
    assert metrics.largest_confusions(np.eye(3, dtype=int), "abc") == []


def made_run(right, n=400, parameters=10, seconds=60):
    """A run whose first `right` of n test answers are right."""
    labels = np.arange(n) % 3
    said = np.where(np.arange(n) < right, labels, (labels + 1) % 3)
    predictions = {
        "test_probabilities": np.eye(3, dtype=np.float16)[said],
        "test_labels": labels,
    }
    measured = {"test": metrics.measure(predictions["test_probabilities"], labels)}
    return Run(
        None,
        {
            "model": "dense",
            "metrics": measured,
            "parameters": parameters,
            "seconds": {"train": seconds},
            "pflop": 0.0625,
            "environment": {"device": "a processor"},
        },
        None,
        predictions,
    )


def test_a_table_row_tells_mean_deviation_seeds_and_interval():
    row = tables.row(Seeds([made_run(200), made_run(208), made_run(216)]))
    assert (
        row["accuracy"] == "52.0 ± 2.0"
        and row["seeds"] == "3"
        and row["minutes"] == "1.0"
    )
    low, high = statistics.wilson(0.52, 400)
    assert row["interval"] == f"{100 * low:.1f} to {100 * high:.1f}"
    assert tables.row(Seeds([made_run(200)]))["accuracy"] == "50.0"


def test_a_prediction_interval_holds_a_further_value_in_nineteen_of_twenty_cases():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        *ours, further = rng.normal(0.9, 0.01, 4)
        low, high = taught.prediction_interval(ours)
        inside += low <= further <= high
    assert 0.93 < inside / 2000 < 0.97


def test_the_interval_of_a_difference_holds_a_further_one_as_often():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        *before, first = rng.normal(0.8, 0.01, 4)
        *after, second = rng.normal(0.9, 0.02, 4)
        values = np.subtract(after, before)
        low, high = taught.prediction_interval(values, before, after)
        inside += low <= second - first <= high
    assert 0.93 < inside / 2000 < 0.97


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_is_between_plain_and_bonferroni(p_values):
    corrected = taught.holm(p_values)
    assert (corrected >= p_values).all() and (
        corrected <= np.minimum(1, len(p_values) * np.array(p_values)) + 1e-12
    ).all()
    assert corrected.min() == pytest.approx(min(1, len(p_values) * min(p_values)))
    assert (np.diff(corrected[np.argsort(p_values)]) >= 0).all()


def point(variant, *accuracies, views=0.0, last=None):
    measured = [
        {"accuracy": value, "macro_f1": value - 0.1}
        | ({"accuracy_tta": value + views} if views else {})
        for value in accuracies
    ]
    predictions = {
        "validation_probabilities": np.eye(2),
        "validation_labels": np.arange(2),
    }
    return Seeds(
        Run(
            None,
            {
                "variant": variant,
                "metrics": {"validation": one},
                "parameters": 1234,
                "seconds": {"train": 61.7},
                "pflop": 0.0625,
                "recipe": {"keep": "lowest_validation_loss" if last else "last_epoch"},
            },
            pd.DataFrame({"validation_accuracy": [0.5, last]}),
            predictions,
        )
        for one in measured
    )


def test_a_study_shows_the_last_epoch_where_another_may_be_kept():
    base = point("study-base", 0.750, 0.754, last=0.74)
    other = point("rate-1", 0.760, 0.764, last=0.77)
    table = tables.against_base({"rate": {"rate-0": base, "rate-1": other}})
    assert table["last epoch"].tolist() == ["74.0", "77.0"]
    kept = point("rate-1", 0.760, 0.764)
    table = tables.against_base({"rate": {"rate-0": base, "rate-1": kept}})
    assert "last epoch" not in table


def test_a_study_tells_better_worse_and_noise():
    base = point("study-base", 0.750, 0.754)
    study = {
        "batch size": {
            "batch-128": base,
            "batch-32": point("batch-32", 0.780, 0.784),
            "batch-512": point("batch-512", 0.700, 0.704),
        },
        "dropout": {
            "dropout-0.4": base,
            "dropout-0.2": point("dropout-0.2", 0.751, 0.757),
        },
    }
    deviation, freedom = statistics.pooled(study)
    assert freedom == 4 and deviation == pytest.approx(
        np.sqrt((3 * 2 * 0.002**2 + 2 * 0.003**2) / 4)
    )
    table = tables.against_base(study)
    assert table.index.tolist() == [
        "base",
        "batch size 32",
        "batch size 512",
        "dropout 0.2",
    ]
    bound = (
        0.002 + stats.t.ppf(0.975, 4) * deviation
    )  # of two means of two seeds each: deviation · sqrt(1/2 + 1/2)
    assert table["verdict"].tolist() == [
        "",
        "better",
        "worse",
        f"cannot tell, < {np.ceil(1000 * bound) / 10:.1f}",
    ]
    assert (
        table["difference"].tolist() == ["", "+3.0", "-5.0", "+0.2"]
        and table["accuracy"].iloc[0] == "75.2 ± 0.3"
    )
    assert "macro-F1" not in table
    assert tables.against_base(study, macro_f1=True)["macro-F1"].tolist() == [
        "65.2 ± 0.3",
        "68.2 ± 0.3",
        "60.2 ± 0.3",
        "65.4 ± 0.4",
    ]
    alone = {
        "dropout": {
            "dropout-0.4": point("study-base", 0.7),
            "dropout-0.2": point("dropout-0.2", 0.9),
        }
    }
    table = tables.against_base(alone)
    assert table["verdict"].tolist() == ["", "cannot tell"]
    assert table["p"].tolist() == ["", ""]
    even = {
        "dropout": {
            "dropout-0.4": point("study-base", 0.7),
            "dropout-0.2": point("dropout-0.2", 0.6998),
        }
    }
    assert tables.against_base(even)["difference"].tolist() == ["", "+0.0"]


def test_trials_stand_below_the_recipe_that_was_chosen():
    chosen, trial = point("main", 0.9, 0.92), point("trial-strong", 0.91)
    for run in [*chosen, *trial]:
        run.record["epochs_run"] = 28
        measured = run.record["metrics"]["validation"]
        measured["accuracy_tta"] = measured["accuracy"] + 0.01
    others = {"One": chosen, "Two": chosen}
    table = tables.trials(others, {"Two": {"trial-strong": trial}})
    assert table.index.tolist() == ["Two, as chosen", "Two, strong"]
    assert table["validation"].tolist() == ["91.0 ± 1.4", "91.0"]
    assert table["views"].tolist() == ["92.0 ± 1.4", "92.0"]
    assert table["seeds"].tolist() == ["2", "1"]
    assert table["epochs"].tolist() == ["28", "28"]
    del trial[0].record["metrics"]["validation"]["accuracy_tta"]
    table = tables.trials(others, {"Two": {"trial-strong": trial}})
    assert table["views"].tolist() == ["92.0 ± 1.4", ""]


def test_without_a_base_the_first_point_of_a_study_is_the_base():
    longer = point("epochs-16", 0.7, 0.702)
    muon = point("longer-Muon", 0.72, 0.722)
    study = {"all": {"epochs-16": longer}, "with": {"longer-Muon": muon}}
    table = tables.against_base(study)
    assert table.index.tolist() == ["base", "with Muon"]
    assert table["difference"].tolist() == ["", "+2.0"]


def test_trainings_that_failed_say_nothing_about_the_spread():
    base, failed = point("study-base", 0.750, 0.754), point("lr-1", 0.10, 0.14)
    study = {"learning rate": {"lr-0.1": base, "lr-1": failed}}
    spread = statistics.pooled(study)
    for run in failed:
        run.predictions["validation_probabilities"] = np.eye(2)[
            [1, 1]
        ]  # one answer for every image
    assert failed.collapsed() and not base.collapsed()
    assert spread[1] == 2 and statistics.pooled(study) == (
        pytest.approx(0.004 / np.sqrt(2)),
        1,
    )
    assert tables.against_base(study)["verdict"].tolist() == ["", "worse"]


def test_choices_leave_out_validation_images_that_stand_in_training():
    leaky = point("study-base", 0.9, 0.9, 0.9)
    for run, value in zip(leaky, (0.58, 0.6, 0.62), strict=True):
        run.record["metrics"]["validation"]["accuracy_without_leaked"] = value
    assert leaky.values("validation", "accuracy").tolist() == [0.58, 0.6, 0.62]
    study = {
        "dropout": {"dropout-0.4": leaky, "dropout-0.2": point("dropout-0.2", 0.7)}
    }
    assert tables.against_base(study)["accuracy"].iloc[0] == "60.0 ± 2.0"


def test_a_step_is_worth_its_gain_give_or_take_images_and_seeds():
    before, after = (
        Seeds([made_run(200), made_run(204)]),
        Seeds([made_run(240), made_run(244)]),
    )
    gain, _, high = statistics.gain(before, after)
    value, low, top = statistics.worth(before, after)
    assert value == gain == pytest.approx(0.1)
    assert gain - low == pytest.approx(top - gain) and top > high
    half = statistics.half_interval(
        0, *(s.values("test", "accuracy") for s in (before, after))
    )
    alike = stats.t.ppf(0.975, 2) * before.deviation()  # sqrt(1/2 + 1/2), 2 degrees
    assert half == pytest.approx(alike) and half < top - gain
    alone = statistics.worth(before, Seeds(after[:1]))
    assert alone[0] == pytest.approx(0.095) and np.isnan(alone[1:]).all()


def test_half_of_an_interval_agrees_with_welch():
    rng = np.random.default_rng(4)
    for n, m in ((3, 3), (2, 5), (4, 3)):
        first, second = rng.normal(70, 3, n), rng.normal(71, 0.2, m)
        low, high = stats.ttest_ind(
            first, second, equal_var=False
        ).confidence_interval()
        assert statistics.half_interval(0, first, second) == pytest.approx(
            (high - low) / 2
        )


def test_a_table_of_steps_names_what_each_network_is_compared_with():
    history = pd.DataFrame({"validation_accuracy": [0.7, 0.8, 0.75]})
    points = {
        name: Seeds([replace(made_run(n), history=history) for n in right])
        for name, right in {
            "dense": (200, 204),
            "+ convolution": (240, 244),
            "wide": (220, 224),
        }.items()
    }
    for run in [run for runs in points.values() for run in runs]:
        run.record |= {"pflop": 0.01234, "best_epoch": 3}
        run.record["metrics"]["validation"] = {"accuracy": 0.8}
        run.predictions |= {
            "validation_probabilities": np.eye(3),
            "validation_labels": np.arange(3),
        }
    ends = [*points["+ convolution"], *points["wide"]]
    for run, accuracy in zip(ends, (0.77, 0.79, 0.74, 0.76)):
        run.history = history.replace(0.75, accuracy)
    before = {"+ convolution": ["dense"], "wide": ["missing", "+ convolution", "dense"]}
    table = tables.steps(points, before)
    assert table.index.tolist() == ["dense", "+ convolution", "wide", ""]
    others = ["", "dense", "+ convolution", "dense"]
    assert table["compared with"].tolist() == others
    value, low, high = statistics.worth(points["dense"], points["+ convolution"])
    worth = f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    assert table["worth"].iloc[1] == worth and worth.startswith("+10.0 (")
    assert table["worth"].str[:5].tolist() == ["", "+10.0", "-5.0 ", "+5.0 "]
    half = stats.t.ppf(0.975, 1)  # 77 and 79 against 75 and 75: standard error 1 point
    last = f"+3.0 ({3 - half:+.1f} to {3 + half:+.1f})"
    assert table["worth, last"].tolist()[1] == last
    assert table["worth, last"].iloc[3] == f"+0.0 ({-half:+.1f} to {half:+.1f})"
    assert table["TFLOP"].tolist() == ["12.3", "12.3", "12.3", ""]
    assert table["last epoch"].tolist() == ["75.0", "78.0", "75.0", ""]
    assert table["validation"].tolist()[:2] == ["80.0 ± 0.0", "80.0 ± 0.0"]


def test_training_beside_test_shows_the_gap():
    run = Run(
        None,
        {
            "metrics": {
                name: {"accuracy": value}
                for name, value in (
                    ("training", 0.9),
                    ("validation", 0.75),
                    ("test", 0.7),
                )
            }
        },
        None,
        None,
    )
    old = Run(
        None,
        {"metrics": {"validation": {"accuracy": 0.75}, "test": {"accuracy": 0.7}}},
        None,
        None,
    )
    table = tables.three_splits({"a network": Seeds([run]), "an old one": Seeds([old])})
    assert table.index.tolist() == ["a network"] and table.iloc[0].tolist() == [
        "90.0",
        "75.0",
        "70.0",
        "20.0",
    ]


def test_ideas_are_compared_with_the_step_before():
    points = {
        "plain": point("before-a", 0.60, 0.604),
        "a": point("before-b", 0.70, 0.704, views=0.01),
        "b": point("study-base", 0.701, 0.705, views=0.01),
    }
    table = tables.step_by_step(points, {"with": points})
    assert table["difference"].tolist() == ["", "+10.0", "+0.1"]
    assert table["verdict"].tolist()[:2] == ["", "better"] and table["verdict"].iloc[
        2
    ].startswith("cannot tell, < 1.")
    assert table["views"].tolist() == ["", "71.2 ± 0.3", "71.3 ± 0.3"]
    assert table.columns.tolist()[-2:] == ["parameters", "PFLOP"] and table.iloc[
        0, -2:
    ].tolist() == ["1,234", "0.062"]


def test_views_mend_some_images_and_break_others():
    alone, views = np.eye(2)[[0, 1, 1, 0]], np.eye(2)[[0, 0, 1, 1]]
    run = Run(
        None,
        {},
        None,
        {
            "test_probabilities": alone,
            "test_labels": np.array([0, 0, 1, 0]),
            "test_probabilities_tta": views,
        },
    )
    mended, broken = statistics.mended(run)
    assert mended.tolist() == [1] and broken.tolist() == [3]
    del run.predictions["test_probabilities_tta"]
    assert [part.tolist() for part in statistics.mended(run)] == [[], []]


def test_a_gain_is_paired_over_the_test_images():
    gain, low, high = statistics.gain(Seeds([made_run(200)]), Seeds([made_run(240)]))
    assert gain == pytest.approx(0.1) and low < 0.1 < high
    error = 1.96 * np.sqrt(
        0.1 * 0.9 * 400 / 399 / 400
    )  # a share of one tenth of 400 images
    assert high - gain == pytest.approx(error)
    assert statistics.gain(Seeds([made_run(200)]), Seeds([made_run(200)])) == (0, 0, 0)


def test_unleaked_leaves_out_what_stands_in_training():
    run = made_run(200)
    probabilities, labels = run.test()
    assert len(statistics.unleaked(run, "test")[1]) == len(labels) == 400
    run.predictions["test_leaked"] = leaked = np.arange(400) % 4 == 0
    left = statistics.unleaked(run, "test")
    assert np.array_equal(left[0], probabilities[~leaked])
    assert np.array_equal(left[1], labels[~leaked])
    assert statistics.percent(np.zeros(0, bool)) == "none"


def test_the_table_of_layers_writes_numbers_as_a_reader_does():
    image = keras.Input((32, 32, 3))
    scaled = keras.layers.Rescaling(4 / 255, offset=-2)(image)
    table = tables.layer_table(keras.Model(image, keras.layers.Flatten()(scaled)))
    assert table.loc["Rescaling", "settings"] == "scale: 4/255, offset: −2"
    assert table.loc["Flatten", "output"] == "3,072"
