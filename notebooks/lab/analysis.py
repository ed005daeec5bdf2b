"""What notebook 05 asks of finished runs: which is better, how sure, how robust, and why wrong."""
import io

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, t
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from .backend import gradient, keras
from .evaluation import confusion, gain, holm, p_text, wilson

LEAST = 1e-6  # what counts for a probability of zero, whose logarithm does not exist


# --- is one network better than another? ----------------------------------------------------


def mcnemar(before, after):
    """Return (b, c, p): images that only the first, only the second network has right, and the exact two-sided p.

    before, after: (n,) bool, right or not, on the same images. Under the hypothesis that both are equally
    good, b of b + c is binomial with probability one half. Source: Q. McNemar (1947).
    """
    b, c = int((before & ~after).sum()), int((~before & after).sum())
    return b, c, float(binomtest(b, b + c).pvalue) if b + c else 1.0


def over_seeds(differences):
    """Return the two-sided p of Student's paired t-test: may the seeds' differences have the mean zero? NaN for one seed."""
    n = len(differences)
    if n < 2:
        return np.nan
    mean, error = abs(np.mean(differences)), np.std(differences, ddof=1) / np.sqrt(n)
    return float(2 * t.sf(mean / error, n - 1)) if error else float(mean == 0)


def compare(runs_by_model, titles):
    """Return a table of every network against every later one, on the same test images.

    runs_by_model: {model: runs}, one run per seed. b, c and p come from `mcnemar` on the first seeds; g is Cohen's
    effect size c / (b + c) - 1/2; the difference is that of the mean accuracies in points, with the standard
    deviation of the paired seeds' differences and their p `over_seeds`. Both p are corrected by `holm`. A network
    is called better where both are below 0.05, with one seed where the first is.
    """
    rows, names = [], list(runs_by_model)
    for before, after in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
        b, c, p = mcnemar(*(_right(runs_by_model[name][0]) for name in (before, after)))
        old, new = ({run.record["seed"]: _right(run).mean() for run in runs_by_model[name]} for name in (before, after))
        paired = [100 * (new[seed] - old[seed]) for seed in old if seed in new]
        spread = f" ± {np.std(paired, ddof=1):.1f}" if len(paired) > 1 else ""
        difference = 100 * gain(runs_by_model[before], runs_by_model[after])[0]
        rows.append({
            "pair": f"{titles[before]}, {titles[after]}", "only first": str(b), "only second": str(c),
            "difference": f"{difference:+.1f}{spread}", "g": f"{c / (b + c) - 0.5:+.2f}" if b + c else "",
            "p": p, "p seeds": over_seeds(paired),
            "verdict": "cannot tell" if (c - b) * difference < 0 else "second better" if difference > 0 else "first better"})
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows).set_index("pair").rename_axis(None)
    for name in ("p", "p seeds"):
        known = table[name].dropna()
        p = pd.Series(holm(known), known.index)
        table.loc[p.index[p >= 0.05], "verdict"] = "cannot tell"
        table[name] = p.reindex(table.index).map(p_text)
    return table


def _right(run):
    probabilities, labels = run.test()
    return probabilities.argmax(axis=1) == labels


def class_intervals(probabilities, labels, classes, draws=2000, seed=0):
    """Return a table of precision, recall and F1 in percent with 95 % intervals, and the support, one row a class.

    Precision and recall have `wilson` intervals; that of F1 is from a bootstrap over images: the
    cells of the confusion matrix drawn anew from their multinomial distribution.
    """
    matrix = confusion(probabilities, labels)
    drawn = np.random.default_rng(seed).multinomial(matrix.sum(), matrix.ravel() / matrix.sum(), draws).reshape(-1, *matrix.shape)
    low, high = np.percentile(_f1(drawn), [2.5, 97.5], axis=0)
    rows = {}
    for i, name in enumerate(classes):
        said, support, right = int(matrix[:, i].sum()), int(matrix[i].sum()), int(matrix[i, i])
        row = {}
        for measure, of in (("precision", said), ("recall", support)):
            row[measure] = _between(right / of, *wilson(right / of, of)) if of else "none"
        row["F1"] = _between(_f1(matrix)[i], low[i], high[i])
        rows[name] = row | {"support": str(support)}
    return pd.DataFrame(rows).T


def _f1(matrix):
    """Return F1 of each class, 2 right / (said + support), of confusion matrices (..., classes, classes)."""
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    return 2 * right / np.maximum(matrix.sum(axis=-1) + matrix.sum(axis=-2), 1)


def _between(value, low, high):
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


# --- how sure may it be? --------------------------------------------------------------------


def tempered(probabilities, temperature):
    """Return softmax(log p / temperature): above 1 less sure, below 1 surer, the same answers.

    Source: C. Guo and others, On Calibration of Modern Neural Networks, arXiv 1706.04599.
    """
    scaled = np.log(np.maximum(probabilities.astype(np.float64), LEAST)) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def temperature(probabilities, labels):
    """Return the temperature whose `tempered` probabilities have the lowest log-loss; fitted on validation."""
    def loss(log_temperature):
        p = tempered(probabilities, np.exp(log_temperature))[np.arange(len(labels)), labels]
        return -np.log(np.maximum(p, LEAST)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def reliability(probabilities, labels, bins=15):
    """Return a table, one row a bin of the highest probability: mean confidence, accuracy, images; empty bins left out."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    frame = pd.DataFrame({"confidence": confidence, "accuracy": probabilities.argmax(axis=1) == labels})
    table = frame.groupby(place).mean()
    return table.assign(images=np.bincount(place, minlength=bins)[table.index])


def calibration_error(probabilities, labels, bins=15):
    """Return the expected calibration error: the mean gap of confidence and accuracy over bins, weighted by images."""
    table = reliability(probabilities, labels, bins)
    return float(np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["images"]))


def brier(probabilities, labels):
    """Return the Brier score: the mean over images of the sum over classes of (p - [class is the label])^2, 0 to 2."""
    wanted = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities.astype(np.float64) - wanted) ** 2).sum(axis=1).mean())


def coverage(probabilities, labels):
    """Return (share answered, accuracy) when only the surest images are answered, for every possible threshold."""
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    count = np.arange(1, len(right) + 1)
    return count / len(right), right.cumsum() / count


def threshold(probabilities, labels, accuracy=0.95):
    """Return the lowest confidence from which on the answers are right that often, infinity where there is none."""
    confidence = np.sort(probabilities.max(axis=1))[::-1]
    ends = np.flatnonzero(np.append(np.diff(confidence) != 0, True))  # equal confidences go together
    enough = ends[coverage(probabilities, labels)[1][ends] >= accuracy]
    return float(confidence[enough[-1]]) if len(enough) else np.inf


# --- which labels are doubtful? -------------------------------------------------------------


def doubtful(probabilities, labels):
    """Return (positions, classes): the images whose label is probably another class, the surest first.

    A class's threshold is its mean probability on the images that bear its label. An image counts as
    another class where that class reaches its threshold and is the most probable one that does; the
    margin to the label's probability gives the order. The probabilities must be of images that were
    not trained on. Source: C. Northcutt and others, Confident Learning, arXiv 1911.00068.
    """
    p = probabilities.astype(np.float64)
    thresholds = np.array([p[labels == label, label].mean() if (labels == label).any() else np.inf for label in range(p.shape[1])])
    confident = np.where(p >= thresholds, p, -1)
    other = confident.argmax(axis=1)
    found = np.flatnonzero((confident.max(axis=1) >= 0) & (other != labels))
    margin = p[found, other[found]] - p[found, labels[found]]
    order = found[np.argsort(-margin, kind="stable")]
    return order, other[order]


# --- what does it look at? ------------------------------------------------------------------


def features(network, images):
    """Return what the last dense layer reads, (n, features): a network's own description of each image."""
    last = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)][-1]
    return keras.Model(network.inputs, last.input).predict(images, batch_size=500, verbose=0)


def neighbours(network, dataset, images, count=5, of=10_000, seed=0):
    """Return (images, count) positions in the training split: the nearest in feature space, by cosine, among `of` of them."""
    training = dataset.split("training")[0]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(training))[:of])
    index = NearestNeighbors(n_neighbors=min(count, len(chosen)), metric="cosine").fit(features(network, training[chosen]))
    return chosen[index.kneighbors(features(network, images), return_distance=False)]


def grad_cam(network, images, classes):
    """Return (n, height, width) from 0 to 1: how much each place of the last maps spoke for a class.

    classes: the class asked about, one an image. The maps are weighted by the mean gradient of the
    class's logit, summed, and cut off below zero.
    Source: R. Selvaraju and others, Grad-CAM, arXiv 1610.02391.
    """
    maps = [layer for layer in network.layers if len(layer.output.shape) == 4][-1].output
    seen = keras.Model(network.inputs, maps).predict(images, verbose=0)
    last = network.layers[-1]  # a softmax alone, or a dense layer with one
    head, dense = keras.Model(maps, last.input), isinstance(last, keras.layers.Dense)
    wanted = np.eye(network.output_shape[-1], dtype="float32")[classes]
    slopes = gradient(lambda x: keras.ops.sum((keras.ops.matmul(head(x), last.kernel) if dense else head(x)) * wanted), seen)
    heat = np.maximum((seen * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1), 0)
    heat = zoom(heat, (1, images.shape[1] / heat.shape[1], images.shape[2] / heat.shape[2]), order=1)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), LEAST)


def embedding(vectors, seed=0):
    """Return (n, 2): feature vectors on a map, by principal components and then t-SNE (scikit-learn)."""
    reduced = PCA(min(50, *vectors.shape), random_state=seed).fit_transform(vectors)
    return TSNE(2, init="pca", random_state=seed, perplexity=min(30, (len(vectors) - 1) / 3)).fit_transform(reduced)


# --- how robust is it? ----------------------------------------------------------------------


def sample(labels, count=1000, seed=0):
    """Return sorted positions of `count` images, every class in proportion where that can be; all where there are no more."""
    if len(labels) <= count:
        return np.arange(len(labels))
    sizes = np.unique(labels, return_counts=True)[1]
    proportion = labels if sizes.min() > 1 and len(sizes) <= min(count, len(labels) - count) else None
    return np.sort(train_test_split(np.arange(len(labels)), train_size=count, stratify=proportion, random_state=seed)[0])


def _noise(images, amount, rng):
    return images + rng.normal(0, amount, images.shape)


def _blur(images, amount, rng):
    return gaussian_filter(images, (0, amount, amount, 0))


def _contrast(images, amount, rng):
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return mean + amount * (images - mean)


def _brightness(images, amount, rng):
    return images + amount


def _jpeg(images, amount, rng):
    changed = np.empty_like(images)
    for i, image in enumerate(images.astype(np.uint8)):
        packed = io.BytesIO()
        Image.fromarray(image.squeeze()).save(packed, "JPEG", quality=amount)
        changed[i] = np.asarray(Image.open(packed)).reshape(image.shape)
    return changed


def _occlusion(images, amount, rng):
    changed, side = images.copy(), round(amount * images.shape[1])
    places = rng.integers(0, np.array(images.shape[1:3])[:, None] - side + 1, size=(2, len(images)))
    for image, top, left in zip(changed, *places):
        image[top : top + side, left : left + side] = 128
    return changed


def _shift(images, amount, rng):
    pixels = round(amount * images.shape[1])
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    down, right = rng.choice([0, pixels, 2 * pixels], size=(2, len(images)))
    return np.stack([image[y : y + images.shape[1], x : x + images.shape[2]] for image, y, x in zip(padded, down, right)])


CORRUPTIONS = {  # name: (function, its amount at the strengths one to five)
    "noise": (_noise, (8, 16, 24, 36, 50)),  # standard deviation, of 255
    "blur": (_blur, (0.4, 0.6, 0.8, 1.1, 1.5)),  # standard deviation in pixels
    "contrast": (_contrast, (0.75, 0.6, 0.45, 0.3, 0.2)),  # share that is kept
    "brightness": (_brightness, (20, 40, 60, 80, 100)),  # added, of 255
    "JPEG": (_jpeg, (80, 50, 30, 15, 7)),  # quality
    "occlusion": (_occlusion, (0.15, 0.25, 0.35, 0.45, 0.55)),  # side of a grey square, of the image's
    "shift": (_shift, (0.03, 0.06, 0.12, 0.18, 0.25)),  # along the axes, of the image's side
}


def corrupt(images, kind, strength, seed=0):
    """Return uint8 images changed by one of `CORRUPTIONS` at strength 1 to 5, the same every time."""
    function, amounts = CORRUPTIONS[kind]
    changed = function(images.astype(np.float32), amounts[strength - 1], np.random.default_rng([seed, strength]))
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def robustness(network, images, labels, kinds=tuple(CORRUPTIONS)):
    """Return a table of accuracies: one row for each of these corruptions, columns 0 (untouched) to 5."""
    def accuracy(changed):
        return float((network.predict(changed, batch_size=500, verbose=0).argmax(axis=1) == labels).mean())

    untouched = accuracy(images)
    return pd.DataFrame({kind: [untouched, *(accuracy(corrupt(images, kind, strength)) for strength in range(1, 6))]
                         for kind in kinds}).T
