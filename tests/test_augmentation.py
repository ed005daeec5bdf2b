import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lab.methods.augmentation import augment, views
from lab.plumbing.files import sha256
from lab.taught import shifted

images = arrays(
    np.uint8,
    st.tuples(
        st.integers(1, 5), st.integers(4, 9), st.integers(4, 9), st.sampled_from([1, 3])
    ),
)


@settings(deadline=None)
@given(images, st.booleans(), st.integers(0, 3), st.integers(0, 99))
def test_every_result_is_exactly_a_shifted_and_perhaps_mirrored_image(
    batch, flip, shift, seed
):
    before = batch.copy()
    changed = augment(batch, np.random.default_rng(seed), flip=flip, shift=shift)
    assert (batch == before).all()
    assert changed.shape == batch.shape and changed.dtype == np.uint8
    height, width = batch.shape[1:3]
    for image, result in zip(batch, changed, strict=True):
        wide = np.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="reflect")
        windows = [
            wide[y : y + height, x : x + width]
            for y in range(2 * shift + 1)
            for x in range(2 * shift + 1)
        ]
        assert any(
            (window == result).all() or (flip and (window[:, ::-1] == result).all())
            for window in windows
        )


def test_the_same_generator_state_gives_the_same_images(digits):
    first, second = (
        augment(digits.images, np.random.default_rng(3), flip=True, shift=2)
        for _ in range(2)
    )
    other = augment(digits.images, np.random.default_rng(4), flip=True, shift=2)
    assert (first == second).all() and (first != other).any()


def test_half_of_the_images_are_mirrored(digits):
    changed = augment(digits.images, np.random.default_rng(0), flip=True)
    mirrored = (changed == digits.images[:, :, ::-1]).all(axis=(1, 2, 3)).mean()
    assert 0.4 < mirrored < 0.6


def test_settings_of_stored_runs_draw_the_same_images_as_ever(digits):
    changed = augment(
        digits.images, np.random.default_rng(3), flip=True, shift=2, cutout=5
    )
    assert (
        sha256(changed.tobytes())
        == "e29be8e27c5ba326e62559734da5fca759499b52dfd1ecd9d5bb0848756b0f89"
    )


def test_views_of_stored_runs_are_the_same_as_ever(digits):
    weighted = [
        b"%a " % weight + view.tobytes()
        for kind in (None, "three", "fourteen")
        for weight, view in views(digits.images[:50], kind)
    ]
    assert (
        sha256(b"".join(weighted))
        == "8320db1d6d373ba773c09e06c9fad020d42f232496d53dd586365ee0fc54b84f"
    )


def test_a_shift_moves_down_and_right_and_reflects_the_border():
    image = np.arange(20).reshape(1, 4, 5, 1)
    moved = shifted(image, 1, -2)[0, :, :, 0]
    assert (moved[1:, :3] == image[0, :-1, 2:, 0]).all()
    assert moved[0].tolist() == [7, 8, 9, 8, 7] and moved.shape == (4, 5)


@settings(deadline=None)
@given(images, st.integers(1, 3), st.integers(0, 99))
def test_erasing_changes_at_most_one_rectangle(batch, side, seed):
    changed = augment(batch, np.random.default_rng(seed), erasing=(1, side))
    for image, result in zip(batch, changed, strict=True):
        rows, columns = np.nonzero((image != result).any(axis=-1))
        assert len(rows) == 0 or max(np.ptp(rows), np.ptp(columns)) < side


def test_erasing_meets_half_of_the_images():
    grey = np.full((2000, 12, 12, 1), 128, np.uint8)
    changed = augment(grey, np.random.default_rng(0), erasing=(3, 6))
    assert 0.45 < (changed != grey).any(axis=(1, 2, 3)).mean() < 0.55


def test_noise_meets_half_of_the_images_and_is_as_strong_as_asked():
    grey = np.full((2000, 12, 12, 1), 128, np.uint8)
    deviation = (
        augment(grey, np.random.default_rng(0), noise=12)
        .astype(float)
        .std(axis=(1, 2, 3))
    )
    assert 0.4 < (deviation > 0.5).mean() < 0.5 and 11 < deviation.max() < 14
    assert 5 < deviation[deviation > 0.5].mean() < 7.5


@settings(deadline=None)
@given(images, st.integers(0, 99))
def test_contrast_and_brightness_stay_within_what_was_asked(batch, seed):
    changed = augment(
        batch, np.random.default_rng(seed), contrast=0.2, brightness=10
    ).astype(float)
    mean = batch.mean(axis=(1, 2, 3), keepdims=True)
    assert (np.abs(changed - batch) <= 0.2 * np.abs(batch - mean) + 10.6).all()


def test_contrast_and_brightness_reach_what_was_asked():
    halves = np.full((2000, 6, 6, 1), 78, np.uint8)
    halves[:, :, 3:] = 178
    changed = augment(halves, np.random.default_rng(0), contrast=0.2).astype(float)
    left, right = (
        changed[:, :, half].mean(axis=(1, 2, 3)) for half in (slice(3), slice(3, 6))
    )
    scale = (right - left) / 100
    assert 0.79 < scale.min() < 0.81 and 1.19 < scale.max() < 1.21
    changed = augment(halves, np.random.default_rng(0), brightness=10).astype(float)
    added = (changed - halves).mean(axis=(1, 2, 3))
    assert -10 <= added.min() < -9 and 9 < added.max() <= 10


def test_turn_and_zoom_meet_half_of_the_images_and_stay_within_what_was_asked():
    spot = np.zeros((2000, 31, 31, 1), np.uint8)
    spot[:, 14:17, 24:27] = 255  # 10 pixels right of the centre
    changed = augment(spot, np.random.default_rng(0), turn=20, zoom=0.1).astype(float)
    met = changed[(changed != spot).any(axis=(1, 2, 3))][..., 0]
    assert 0.45 < len(met) / len(spot) < 0.55
    total, away = met.sum(axis=(1, 2)), np.arange(31) - 15
    down = (met.sum(axis=2) * away).sum(axis=1) / total
    right = (met.sum(axis=1) * away).sum(axis=1) / total
    far, angle = np.hypot(down, right), np.degrees(np.arctan2(down, right))
    assert 8.8 < far.min() < 9.2 and 10.8 < far.max() < 11.2
    assert -20.5 < angle.min() < -18 and 18 < angle.max() < 20.5


def test_blur_meets_a_quarter_of_the_images_and_is_as_strong_as_asked():
    point = np.zeros((4000, 9, 9, 1), np.uint8)
    point[:, 4, 4] = 255
    changed = augment(point, np.random.default_rng(0), blur=0.8).astype(float)
    met = changed[(changed != point).any(axis=(1, 2, 3))][..., 0]
    assert 0.22 < len(met) / len(point) < 0.28
    rows = met.sum(axis=2) / met.sum(axis=(1, 2))[:, None]
    deviation = np.sqrt((rows * (np.arange(9) - 4) ** 2).sum(axis=1))
    assert 0.75 < deviation.max() < 0.81 and 0.35 < deviation.mean() < 0.5


@settings(deadline=None)
@given(images, st.sampled_from([None, "three", "fourteen"]))
def test_views_are_images_whose_weights_sum_to_one(batch, kind):
    found = views(batch, kind)
    assert len(found) == {None: 6, "three": 3, "fourteen": 14}[kind]
    assert abs(sum(weight for weight, _ in found) - 1) < 1e-9
    assert all(
        view.shape == batch.shape and view.dtype == np.uint8 for _, view in found
    )


def test_turned_views_turn_about_the_centre_both_ways_and_enlarge():
    image = np.zeros((1, 41, 41, 1), np.uint8)
    image[0, 20, 30], image[0, 20, 20] = 255, 255
    places = [
        np.unravel_index((view[0, :, :, 0] * (np.arange(41) > 24)).argmax(), (41, 41))
        for _, view in views(image, "fourteen")[6::2]
    ]
    enlarged, reduced, one_way, other_way = [
        (int(row), int(column)) for row, column in places
    ]
    assert enlarged == (20, 31) and reduced == (20, 29)
    assert {one_way, other_way} == {(19, 30), (21, 30)}
