"""Why a network answers as it does: doubtful labels, neighbours, Grad-CAM, a map."""

import numpy as np
from scipy.ndimage import zoom
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from .plumbing.backend import gradient, keras


def doubtful(probabilities, labels):
    """Return (positions, classes): the images whose label is probably another class,
    the surest first.

    A class's threshold is its mean probability on the images that bear its label. An
    image counts as another class where that class reaches its threshold and is the most
    probable one that does; the margin to the label's probability gives the order. The
    probabilities must be of images that were not trained on. Source: C. Northcutt and
    others, Confident Learning, arXiv 1911.00068.
    """
    p = probabilities.astype(np.float64)
    thresholds = np.array(
        [
            p[labels == label, label].mean() if (labels == label).any() else np.inf
            for label in range(p.shape[1])
        ]
    )
    confident = np.where(p >= thresholds, p, -1)
    other = confident.argmax(axis=1)
    found = np.flatnonzero((confident.max(axis=1) >= 0) & (other != labels))
    margin = p[found, other[found]] - p[found, labels[found]]
    order = found[np.argsort(-margin, kind="stable")]
    return order, other[order]


def features(network, images):
    """Return what the last dense layer reads, (n, features): a network's own
    description of each image.
    """
    last = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)][
        -1
    ]
    return keras.Model(network.inputs, last.input).predict(
        images, batch_size=500, verbose=0
    )


def neighbours(network, dataset, images, count=5, of=10_000, seed=0):
    """Return (images, count) positions in the training split: the nearest in feature
    space, by cosine, among `of` of them.
    """
    training = dataset.split("training")[0]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(training))[:of])
    index = NearestNeighbors(n_neighbors=min(count, len(chosen)), metric="cosine").fit(
        features(network, training[chosen])
    )
    return chosen[index.kneighbors(features(network, images), return_distance=False)]


def grad_cam(network, images, classes):
    """Return (n, height, width) from 0 to 1: how much each place of the last maps spoke
    for a class.

    classes: the class asked about, one an image. The maps are weighted by the mean
        gradient of the class's logit, summed, and cut off below zero.
    Source: R. Selvaraju and others, Grad-CAM, arXiv 1610.02391.
    """
    maps = [layer for layer in network.layers if len(layer.output.shape) == 4][
        -1
    ].output
    seen = keras.Model(network.inputs, maps).predict(images, verbose=0)
    last = network.layers[-1]  # a softmax alone, or a dense layer with one
    head, dense = keras.Model(maps, last.input), isinstance(last, keras.layers.Dense)
    wanted = np.eye(network.output_shape[-1], dtype="float32")[classes]
    slopes = gradient(
        lambda x: keras.ops.sum(
            (keras.ops.matmul(head(x), last.kernel) if dense else head(x)) * wanted
        ),
        seen,
    )
    heat = np.maximum((seen * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1), 0)
    height, width = images.shape[1] / heat.shape[1], images.shape[2] / heat.shape[2]
    heat = zoom(heat, (1, height, width), order=1)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-6)


def embedding(vectors, seed=0):
    """Return (n, 2): feature vectors on a map, by principal components and then t-SNE
    (scikit-learn).
    """
    reduced = PCA(min(50, *vectors.shape), random_state=seed).fit_transform(vectors)
    return TSNE(
        2, init="pca", random_state=seed, perplexity=min(30, (len(vectors) - 1) / 3)
    ).fit_transform(reduced)
