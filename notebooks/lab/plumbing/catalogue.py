"""The known data sets: names, shapes, hashes, where their files come from."""

import numpy as np

from . import sources


def digits(known):
    """Yield scikit-learn's 1,797 scanned digits: 0-16 grey levels to 0-255, 8x8 to
    16x16.
    """

    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
    images = images.repeat(2, axis=1).repeat(2, axis=2)
    yield "scikit-learn", (images, labels.astype(np.int64))


AGAIN = "3. Run the notebook again."
FACTS = (
    dict(
        name="digits",
        title="Digits",
        ground=0,
        classes=tuple("0123456789"),
        shape=(16, 16, 1),
        sha256="a411e57b634c4823e282acff03b7fec7e709d8e44f841eed749655efca946c1e",
        split_sha256=(
            "0dac2ee7549dc4bdd1c66cf57a5e8a07692d8b1ee62dbfd6400fffcd68457ef7"
        ),
        source=digits,
    ),
    dict(
        name="fashion_mnist",
        title="Fashion-MNIST",
        ground=0,
        shape=(28, 28, 1),
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        sha256="6d50a1a20a1c66118589aaac178683e0e4e77258d59256ba5f644f4dde9f09b4",
        split_sha256=(
            "99dff6e885aa05d596df8dbb7fac77d09db5499e74e538111bc561f031651ed5"
        ),
        source=sources.fashion_mnist,
        advice=(
            "1. Download the four files ending in -ubyte.gz from"
            " https://github.com/zalandoresearch/fashion-mnist/tree/master/data/"
            "fashion\n2. Put them in data/raw/fashion-mnist/ (or in a folder that "
            "LAB_DATA"
            f" names).\n{AGAIN}"
        ),
    ),
    dict(
        name="cifar10",
        title="CIFAR-10",
        shape=(32, 32, 3),
        classes=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        sha256="b16dd405789d423f76919f61e103c3199c7b2dd0c7da8b27d752a9ab9c80dba9",
        split_sha256=(
            "dc8eb4cb18c881f7a6e001b2c318515f7867b2d0860275468f458d0d23abe062"
        ),
        source=sources.cifar10,
        advice=(
            "1. Download cifar-10-python.tar.gz (or -binary) from"
            " https://www.cs.toronto.edu/~kriz/cifar.html\n2. Put it in data/raw/"
            f" (or in a folder that LAB_DATA names), packed or unpacked.\n{AGAIN}"
        ),
    ),
    dict(
        name="fer2013",
        title="FER2013",
        shape=(48, 48, 1),
        classes=sources.FER2013_CLASSES,
        sha256="dfa10f704ce43176926fa4a1d4ae1249caa95437f8022664b01859e189e13400",
        split_sha256=(
            "3bfd8d9aabd79a36eed4aa10c2b726ffabfac4e51fff64f7abb906a92a643be3"
        ),
        source=sources.fer2013,
        advice=(
            "1. With a free Kaggle account, download"
            " https://www.kaggle.com/datasets/deadskull7/fer2013\n2. Put"
            " fer2013.csv, or the archive, in data/raw/ (or in a folder that"
            f" LAB_DATA names).\n{AGAIN}"
        ),
    ),
)
