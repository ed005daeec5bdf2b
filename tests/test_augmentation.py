import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lab.augmentation import augment

images = arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(4, 9), st.integers(4, 9), st.sampled_from([1, 3])))


@settings(deadline=None)
@given(images, st.booleans(), st.integers(0, 3), st.integers(0, 99))
def test_every_result_is_exactly_a_shifted_and_perhaps_mirrored_image(batch, flip, shift, seed):
    before = batch.copy()
    changed = augment(batch, np.random.default_rng(seed), flip=flip, shift=shift)
    assert (batch == before).all()
    assert changed.shape == batch.shape and changed.dtype == np.uint8
    height, width = batch.shape[1:3]
    for image, result in zip(batch, changed):
        wide = np.pad(image, ((shift, shift), (shift, shift), (0, 0)), mode="reflect")
        windows = [wide[y : y + height, x : x + width] for y in range(2 * shift + 1) for x in range(2 * shift + 1)]
        assert any((window == result).all() or (flip and (window[:, ::-1] == result).all()) for window in windows)


def test_the_same_generator_state_gives_the_same_images(digits):
    first, second = (augment(digits.images, np.random.default_rng(3), flip=True, shift=2) for _ in range(2))
    other = augment(digits.images, np.random.default_rng(4), flip=True, shift=2)
    assert (first == second).all() and (first != other).any()


def test_half_of_the_images_are_mirrored(digits):
    changed = augment(digits.images, np.random.default_rng(0), flip=True)
    mirrored = (changed == digits.images[:, :, ::-1]).all(axis=(1, 2, 3)).mean()
    assert 0.4 < mirrored < 0.6
