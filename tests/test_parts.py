from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from conftest import train
from lab import augmentation, engine, models, parts, taught, training
from lab.methods import feeding
from lab.plumbing import card, checkpoints
from lab.plumbing.checkpoints import Checkpoints
from lab.plumbing.files import LabError
from lab.recipes import Job
from lab.taught import kept_share, whitening_filters

numpy = keras.ops.convert_to_numpy


def test_offsets_move_sixty_four_times_as_far_and_do_not_decay(monkeypatch):
    kernel, beta = (keras.Variable([1.0], name=name) for name in ("kernel", "beta"))
    optimizer = parts.FastOffsetSGD(0.01, momentum=0.9, nesterov=True, weight_decay=0.5)
    plain = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    alone = keras.Variable([1.0])
    for _ in range(3):
        optimizer.apply([keras.ops.convert_to_tensor([0.1])] * 2, [kernel, beta])
        plain.apply([keras.ops.convert_to_tensor([0.1])], [alone])
    assert float(beta[0]) - 1 == pytest.approx(64 * (float(alone[0]) - 1), rel=1e-4)
    assert float(kernel[0]) < float(alone[0])  # decayed as well
    network = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(), layers.Dense(2)]
    )
    seen = []
    monkeypatch.setattr(
        keras.optimizers.SGD,
        "update_step",
        lambda self, _, variable, rate: seen.append((variable.name, float(rate))),
    )
    network.compile(parts.FastOffsetSGD(0.01), "mse", run_eagerly=True)
    network.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    assert sorted(rate / 0.01 for _, rate in seen) == pytest.approx([1, 1, 1, 64])
    assert [name for name, rate in seen if rate > 0.1] == [
        name for name, _ in seen if "beta" in name
    ]
    assert parts.FastOffsetSGD.from_config(optimizer.get_config()).offset_factor == 64


def test_newton_schulz_keeps_the_singular_vectors_and_brings_the_values_near_one():
    rng = np.random.default_rng(0)
    for shape in ((8, 40), (40, 8)):
        matrix = rng.standard_normal(shape)
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        made = numpy(taught.orthogonal(keras.ops.convert_to_tensor(matrix)))
        assert made.shape == shape
        turned = left.T @ made @ right.T  # diagonal where the vectors are the same
        values = np.diag(turned)
        assert (
            np.abs(turned - np.diag(values)).max() < 1e-6
            and 0.4 < values.min()
            and values.max() < 1.3
        )


def test_muon_moves_kernels_by_a_matrix_of_given_size_and_all_else_as_before():
    rng = np.random.default_rng(0)
    start = [
        rng.standard_normal(shape).astype("float32")
        for shape in ((3, 3, 4, 8), (5, 2), (8,))
    ]
    gradients = [
        keras.ops.convert_to_tensor(rng.standard_normal(one.shape).astype("float32"))
        for one in start
    ]
    options = {"momentum": 0.85, "nesterov": True, "weight_decay": 0.01}

    def moved(kind, **more):
        variables = [
            keras.Variable(one, name=name)
            for one, name in zip(start, ("kernel", "kernel", "beta"), strict=True)
        ]
        optimizer = kind(0.5, **options, **more)
        for _ in range(2):
            optimizer.apply(gradients, variables)
        return [numpy(variable) for variable in variables]

    muon, plain = moved(parts.Muon, kernel_factor=0.1), moved(parts.FastOffsetSGD)
    assert all(np.allclose(a, b) for a, b in zip(muon[1:], plain[1:], strict=True))
    step = muon[0] - start[0] * 8**0.5 / np.linalg.norm(
        start[0]
    )  # the second step scales again, by nearly one
    assert 0.5 * 2 * 0.05 * 8**0.5 < np.linalg.norm(step) < 2 * 2 * 0.05 * 8**0.5
    assert (step * numpy(gradients[0])).sum() < 0
    assert (
        parts.Muon.from_config(
            parts.Muon(0.1, kernel_factor=0.3).get_config()
        ).kernel_factor
        == 0.3
    )


@pytest.mark.parametrize("arguments", [{"momentum": 0.85}, {}])
def test_muon_trains_a_network_with_convolutions(digits, tmp_path, arguments):
    recipe = replace(
        models.two_conv_recipe,
        epochs=2,
        optimizer="Muon",
        learning_rate=0.1,
        optimizer_arguments=arguments,
    )
    run = train(digits, recipe, tmp_path, model="two_conv", build=models.build_two_conv)
    assert run.history["accuracy"].iloc[-1] > 0.6


def test_a_partial_identity_hands_its_input_on():
    layer = layers.Conv2D(
        5, 3, padding="same", use_bias=False, kernel_initializer=parts.PartialIdentity()
    )
    images = np.random.default_rng(0).random((2, 6, 6, 3), np.float32)
    answer = numpy(layer(images))
    assert np.allclose(answer[..., :3], images) and not np.allclose(
        answer[..., 3], images[..., 0]
    )
    assert 0 < np.abs(numpy(layer.kernel)[..., 3:]).max() <= 27**-0.5


def test_the_seed_decides_all_weights_of_the_improved_network_whatever_was_built_before(
    digits,
):
    first, again, other = (
        training.build(
            models.build_improved, digits, models.improved_recipe, seed
        ).get_weights()
        for seed in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_whitened_patches_are_uncorrelated_and_equally_strong(digits):
    inputs = keras.Input(digits.shape, dtype="uint8")
    x = layers.Rescaling(scale=4 / 255, offset=-2)(inputs)
    x = layers.Conv2D(18, 3, use_bias=False, trainable=False, name=parts.WHITENING)(x)
    network = keras.Model(inputs, x)
    images = digits.split("training")[0]
    parts.whiten(network, images)
    answers = network.predict(images, verbose=0).reshape(-1, 18)
    products = answers[:, :9].T @ answers[:, :9] / len(answers)
    assert np.abs(products - np.diag(np.diag(products))).max() < 0.02
    assert 0.5 < np.diag(products).min() and np.diag(products).max() < 1.01
    assert np.allclose(answers[:, 9:], -answers[:, :9], atol=1e-4)


def test_whitening_filters_make_patches_uncorrelated_and_of_strength_one():
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((500, 4)) @ rng.standard_normal((4, 4))
    filters = whitening_filters(patches, constant=0)
    answers = patches @ filters
    assert np.allclose(answers.T @ answers / 500, np.eye(4))
    lengths = np.linalg.norm(filters, axis=0)  # the strongest component comes first
    assert (np.diff(lengths) > 0).all()
    largest = filters[np.abs(filters).argmax(axis=0), range(4)]
    assert (largest > 0).all()


def test_the_share_that_lookahead_keeps_grows_to_one():
    shares = [kept_share(step, steps=20, every=5) for step in (5, 10, 15, 20)]
    assert shares == pytest.approx([0.95**5 / 64, 0.95**5 / 8, 0.95**5 * 27 / 64, 1])


def test_lookahead_averages_all_weights_every_few_steps_and_ends_on_the_average():
    network = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(), layers.Dense(2)]
    )
    network.compile(keras.optimizers.SGD(0.1), "mse")
    rng = np.random.default_rng(0)
    before = [weight.copy() for weight in network.get_weights()]
    averages = parts.Lookahead(network, every=2, steps=6)
    fast = []

    class Look(
        keras.callbacks.Callback
    ):  # what the weights are before the average is taken
        def on_train_batch_end(self, batch, logs=None):
            fast.append(network.get_weights())

    network.fit(
        rng.random((24, 4)),
        rng.random((24, 2)),
        batch_size=4,
        verbose=0,
        callbacks=[Look(), averages],
    )
    slow = before
    for step in (2, 4, 6):
        keep = 0.95**2 * (step / 6) ** 3 if step < 6 else 1.0
        pairs = zip(slow, fast[step - 1], strict=True)
        slow = [keep * one + (1 - keep) * new for one, new in pairs]
    for weight, expected in zip(network.get_weights(), slow, strict=True):
        assert np.allclose(weight, expected, atol=1e-6)


def test_resumed_with_lookahead_and_alternating_flips_a_run_is_the_same(
    digits, recipe, tmp_path, monkeypatch
):
    recipe = replace(
        recipe,
        epochs=3,
        lookahead=3,
        augmentation={"flip": "alternating", "shift": 1, "cutout": 3},
    )

    def start(folder):
        monkeypatch.setattr(engine, "ROOT", tmp_path / folder)
        return train(digits, recipe, tmp_path / folder)

    whole, original = start("whole"), Checkpoints.write

    def write(self, variables, state, best):
        original(self, variables, state, best)
        if len(state["history"]) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "write", write)
    with pytest.raises(KeyboardInterrupt):
        start("stopped")
    monkeypatch.setattr(Checkpoints, "write", original)
    resumed = start("stopped")
    assert resumed.record["weights_sha256"] == whole.record[
        "weights_sha256"
    ] and resumed.history["loss"].equals(whole.history["loss"])


def test_alternating_flips_show_both_sides_of_every_image_in_two_epochs(digits, recipe):
    images = digits.split("training")[0][:200]
    recipe = replace(recipe, augmentation={"flip": "alternating"})
    sides = []
    for epoch in range(2):
        changed, order = training.one_epoch(images, recipe, 0, epoch)
        sides.append(np.empty(200, bool))
        sides[-1][order] = [
            not np.array_equal(one, images[i])
            for one, i in zip(changed, order, strict=True)
        ]
    symmetric = [np.array_equal(image, image[:, ::-1]) for image in images]
    assert ((sides[0] ^ sides[1]) | symmetric).all() and 60 < sides[0].sum() < 140


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_cutout_paints_one_grey_square_inside_each_image(side, seed):
    images = np.full((4, 7, 9, 3), 7, np.uint8)
    changed = augmentation.augment(images, np.random.default_rng(seed), cutout=side)
    for image in changed:
        rows, columns = np.nonzero((image == 128).all(axis=-1))
        assert len(rows) == side**2 and np.ptp(rows) == np.ptp(columns) == side - 1
    assert (changed == 7).sum() == 4 * 3 * (63 - side**2)


def test_views_are_the_image_its_neighbours_and_their_mirrors_and_weigh_one():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 1), np.uint8)
    found = augmentation.views(images)
    assert len(found) == 6 and sum(weight for weight, _ in found) == 1
    assert np.array_equal(found[0][1], images) and np.array_equal(
        found[1][1], images[:, :, ::-1]
    )
    assert np.array_equal(
        found[2][1][:, 1:, 1:], images[:, :-1, :-1]
    ) and np.array_equal(found[4][1][:, :-1, :-1], images[:, 1:, 1:])


def test_test_time_augmentation_is_a_metric_of_its_own(digits, recipe, tmp_path):
    run = train(digits, replace(recipe, test_time_augmentation=True), tmp_path)
    for split in ("validation", "test"):
        six = (
            run.predictions[f"{split}_probabilities_tta"].argmax(axis=1)
            == run.predictions[f"{split}_labels"]
        )
        assert (
            run.record["metrics"][split]["accuracy_tta"]
            == six.mean()
            != run.record["metrics"][split]["accuracy"]
        )


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "build, arguments",
    [
        (models.build_dense, {}),
        (models.build_two_conv, {"filters": (8, 8)}),
        pytest.param(
            models.build_improved, {"widths": (8, 8, 8)}, marks=pytest.mark.long
        ),
    ],
)
def test_in_half_precision_whitening_and_softmax_stay_in_float32(
    precision, build, arguments, digits, recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    recipe = replace(
        recipe, precision=precision, model_arguments=arguments, epochs=1, subset=0.2
    )
    job = Job("digits", "mine", "main", 0, recipe, build, weights=True)
    network = training.build(build, digits, recipe, seed=0)
    answers = network.predict(digits.images[:8], verbose=0)
    assert answers.dtype == np.float32
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert {layer.compute_dtype for layer in network.layers} >= {
        "float32",
        precision.removeprefix("mixed_"),
    }
    trained = engine.fit(job, digits)
    assert trained.record["environment"]["precision"] == precision
    assert all(np.isfinite(weight).all() for weight in trained.weights)


def test_filters_of_the_whitening_layer_do_not_depend_on_the_precision(digits):
    found = []
    for precision in ("float32", "mixed_float16"):
        recipe = replace(models.ablation_recipe, precision=precision)
        network = training.build(models.build_improved, digits, recipe, seed=0)
        feeding.whiten(network, digits.split("training")[0], digits, recipe)
        found.append(numpy(network.get_layer(parts.WHITENING).kernel))
    assert np.array_equal(*found)


def test_where_loss_scaling_skips_steps_rate_and_average_still_count_the_batches(
    digits, recipe, tmp_path, monkeypatch
):
    made = []

    def compile_model(network, *arguments):
        taught.compile_model(network, *arguments, {})
        network.optimizer.dynamic_scale.assign(2.0**30)  # overflows in float16
        made.append((network, arguments))

    monkeypatch.setattr(training, "compile_model", compile_model)
    recipe = replace(
        recipe, precision="mixed_float16", lookahead=5, keep="last_epoch", epochs=2
    )
    train(digits, recipe, tmp_path)
    ((network, (_, images)),) = made
    steps = recipe.epochs * taught.steps_per_epoch(images, recipe.batch_size)
    optimizer = network.optimizer
    assert float(optimizer.dynamic_scale) < 2.0**30
    assert int(optimizer.iterations) == steps
    last = float(numpy(taught.triangle(steps, recipe.learning_rate, steps)))
    assert float(optimizer.inner_optimizer.learning_rate) == pytest.approx(last)


def test_bfloat16_on_a_card_without_it_is_one_sentence(digits, recipe, monkeypatch):
    config = card.tf.config
    about = {"device_name": "Tesla T4", "compute_capability": (7, 5)}
    monkeypatch.setattr(config, "list_physical_devices", lambda kind: ["card"])
    monkeypatch.setattr(
        config.experimental, "get_device_details", lambda card: dict(about)
    )
    with pytest.raises(LabError, match="card Tesla T4 has no bfloat16: set"):
        card.check_card("mixed_bfloat16")
    card.check_card("mixed_float16")
    about["compute_capability"] = (8, 0)
    card.check_card("mixed_bfloat16")


def test_on_a_card_small_networks_take_several_steps_a_call_to_the_same_weights(
    digits, recipe, tmp_path, monkeypatch
):
    steps, settle = [], card.settle

    def noted(network, *arguments):
        settle(network, *arguments)
        steps.append(network.steps_per_execution)

    monkeypatch.setattr(card, "settle", noted)
    weights = []
    for name in (None, "card"):
        monkeypatch.setattr(card, "accelerator", lambda name=name: name)
        run = train(digits, recipe, tmp_path / str(name))
        weights.append(run.record["weights_sha256"])
    assert weights[0] == weights[1]
    for changed in ({"lookahead": 5}, {"precision": "mixed_float16"}):
        train(digits, replace(recipe, **changed), tmp_path / next(iter(changed)))
    assert steps == [1, card.STEPS, 1, 1]


def test_on_a_card_large_networks_alone_are_compiled_and_checkpoints_are_seldom(
    monkeypatch, tmp_path
):
    networks = [
        build((32, 32, 3), 10) for build in (models.build_dense, models.build_improved)
    ]
    for name, compiled in ((None, [False, False]), ("card", [False, True])):
        for module in (card, checkpoints):
            monkeypatch.setattr(module, "accelerator", lambda name=name: name)
        for network in networks:
            card.settle(network, "float32")
        assert [network.jit_compile for network in networks] == compiled
        saved = Checkpoints(tmp_path)
        state = {"history": [], "best": 0, "environments": [], "shared": None}
        due = [saved.due()]
        saved.write([], state, [])
        assert [*due, saved.due()] == [True, not name]
    now = [saved.written + 9.9]  # seconds: docs/reproduce.md says every ten
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    assert not saved.due()
    now[0] += 0.2
    assert saved.due()
