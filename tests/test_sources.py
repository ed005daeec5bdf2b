"""The official data sets in every container, on small stand-ins with the same form."""

import gzip
import io
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import plan
from lab import datasets
from lab.plumbing import downloads, reading, sources
from lab.plumbing.files import LabError, sha256

RNG = np.random.default_rng(0)
CIFAR_LABELS = np.arange(60) % 10
CIFAR_IMAGES = RNG.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
FER_LABELS = np.arange(30) % 7
FER_IMAGES = RNG.integers(0, 256, (30, 48, 48, 1), dtype=np.uint8)
FER_USAGES = ["Training"] * 20 + ["PublicTest"] * 5 + ["PrivateTest"] * 5
FASHION_LABELS = np.arange(50) % 10
FASHION_IMAGES = RNG.integers(0, 256, (50, 28, 28, 1), dtype=np.uint8)


def cifar_batches(binary=False):
    """{file name: content} of six batches of ten images."""
    rows = CIFAR_IMAGES.transpose(0, 3, 1, 2).reshape(6, 10, 3072)
    batches = zip(
        sources.CIFAR10_PICKLES, rows, CIFAR_LABELS.reshape(6, 10), strict=True
    )
    if binary:
        return {
            f"{name}.bin": np.c_[labels.astype(np.uint8), data].tobytes()
            for name, data, labels in batches
        }
    return {
        name: pickle.dumps({b"data": data, b"labels": labels.tolist()}, protocol=3)
        for name, data, labels in batches
    }


def fer_table(header="emotion,pixels,Usage", rows=None):
    lines = [
        (
            header.replace("Usage", " Usage").replace("pixels", " pixels")
            if header.startswith("emotion,U")
            else header
        )
    ]
    for i in rows if rows is not None else range(30):
        cells = {
            "emotion": str(FER_LABELS[i]),
            "pixels": " ".join(map(str, FER_IMAGES[i].ravel())),
            "Usage": FER_USAGES[i],
        }
        lines.append(",".join(cells[column] for column in header.split(",")))
    return "\n".join(lines).encode() + b"\n"


def tar(files, prefix="", mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            one = tarfile.TarInfo(prefix + name)
            one.size = len(content)
            archive.addfile(one, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def idx(array):
    return (
        bytes([0, 0, 8, array.ndim])
        + np.array(array.shape, ">u4").tobytes()
        + array.astype(np.uint8).tobytes()
    )


def fashion_files(packed=True):
    arrays = [
        FASHION_IMAGES[:40, ..., 0],
        FASHION_LABELS[:40],
        FASHION_IMAGES[40:, ..., 0],
        FASHION_LABELS[40:],
    ]
    names = [name if packed else name[:-3] for name in sources.FASHION_MNIST_FILES]
    return {
        name: gzip.compress(idx(array)) if packed else idx(array)
        for name, array in zip(names, arrays, strict=True)
    }


def npz(images, labels, count):
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        x_train=images[:count],
        y_train=labels[:count, None],
        x_test=images[count:],
        y_test=labels[count:, None],
    )
    return buffer.getvalue()


def fashion_tables(header=True, rows=None):
    """{file name: content} of the two tables of Kaggle, in another order on demand."""
    tables = {}
    for name, places in (("train", np.arange(40)), ("test", np.arange(40, 50))):
        lines = [",".join(["label", *(f"pixel{i}" for i in range(1, 785))])] * header
        for i in places[::-1] if rows else places:
            pixels = FASHION_IMAGES[i].ravel()
            lines.append(",".join(map(str, [FASHION_LABELS[i], *pixels])))
        tables[f"fashion-mnist_{name}.csv"] = "\n".join(lines).encode() + b"\n"
    return tables


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze()).save(buffer, "PNG")
    return buffer.getvalue()


def cifar_pictures(prefix=""):
    names = datasets.KNOWN["cifar10"].classes
    return {
        f"{prefix}{'train' if i < 50 else 'test'}/{names[label]}/{99 - i}.png": png(
            image
        )
        for i, (image, label) in enumerate(zip(CIFAR_IMAGES, CIFAR_LABELS, strict=True))
    }


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """An empty raw folder and cache; the stand-ins are the published content; no
    network.
    """

    def offline(path, urls, *_):
        raise LabError("no network")

    monkeypatch.setenv("LAB_DATA", str(tmp_path / "raw"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(reading, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(sources, "fetch", offline)
    monkeypatch.setattr(sources, "kaggle", lambda handle: None)
    monkeypatch.setattr(
        sources, "CIFAR10_PICKLES", {k: sha256(v) for k, v in cifar_batches().items()}
    )
    for name, images, labels in (
        ("cifar10", CIFAR_IMAGES, CIFAR_LABELS),
        ("fer2013", FER_IMAGES, FER_LABELS),
        ("fashion_mnist", FASHION_IMAGES, FASHION_LABELS),
    ):
        digest = reading.content_hash(images, labels)
        monkeypatch.setitem(
            datasets.KNOWN, name, datasets.replace(datasets.KNOWN[name], sha256=digest)
        )
    monkeypatch.setattr(
        reading,
        "read_splits",
        lambda known: {"training": [0], "validation": [1], "test": [2]},
    )
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def put(raw, files, folder="."):
    for name, content in files.items():
        (raw / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / folder / name).write_bytes(content)


SHAPES = {
    "fashion idx.gz": ("fashion_mnist", lambda: fashion_files()),
    "fashion in a folder": (
        "fashion_mnist",
        lambda: {f"fashion-mnist/{k}": v for k, v in fashion_files().items()},
    ),
    "fashion unpacked": (
        "fashion_mnist",
        lambda: {
            f"FashionMNIST/raw/{k}": v for k, v in fashion_files(packed=False).items()
        },
    ),
    "fashion zip of Kaggle": (
        "fashion_mnist",
        lambda: {
            "archive.zip": zipped(fashion_files(packed=False) | {"a.csv": b"label,1\n"})
        },
    ),
    "fashion zip of gz": (
        "fashion_mnist",
        lambda: {"Fashion-MNIST.zip": zipped(fashion_files())},
    ),
    "fashion tar": (
        "fashion_mnist",
        lambda: {"fashion.tgz": tar(fashion_files(packed=False), "data/")},
    ),
    "fashion dots": (
        "fashion_mnist",
        lambda: {
            k.replace("-idx", ".idx"): v for k, v in fashion_files(packed=False).items()
        },
    ),
    "fashion a folder a file": (
        "fashion_mnist",
        lambda: {f"{k}/{k}": v for k, v in fashion_files(packed=False).items()},
    ),
    "fashion unpacked, but called gz": (
        "fashion_mnist",
        lambda: {f"{k}.gz": v for k, v in fashion_files(packed=False).items()},
    ),
    "fashion beside MNIST": (
        "fashion_mnist",
        lambda: (
            {
                f"MNIST/raw/{k}": gzip.compress(
                    idx(np.zeros((9, 28, 28)[: 1 + 2 * (i % 2 < 1)]))
                )
                for i, k in enumerate(fashion_files())
            }
            | {f"FashionMNIST/raw/{k}": v for k, v in fashion_files().items()}
        ),
    ),
    "fashion npz": (
        "fashion_mnist",
        lambda: {"any.npz": npz(FASHION_IMAGES[..., 0], FASHION_LABELS, 40)},
    ),
    "fashion csv": ("fashion_mnist", fashion_tables),
    "fashion csv without header": ("fashion_mnist", lambda: fashion_tables(False)),
    "fashion csv, each zipped": (
        "fashion_mnist",
        lambda: {f"{k}.zip": zipped({k: v}) for k, v in fashion_tables().items()},
    ),
    "fashion of Keras": (
        "fashion_mnist",
        lambda: {
            f"../keras/datasets/fashion-mnist/{k}": v
            for k, v in fashion_files().items()
        },
    ),
    "cifar zip": (
        "cifar10",
        lambda: {
            "archive.zip": zipped(
                {f"cifar-10-batches-py/{k}": v for k, v in cifar_batches().items()}
            )
        },
    ),
    "cifar tar, not packed": (
        "cifar10",
        lambda: {"cifar-10-python.tar": tar(cifar_batches(), "c/", "w:")},
    ),
    "cifar of Keras 2": (
        "cifar10",
        lambda: {"cifar-10-batches-py.tar.gz": tar(cifar_batches(True))},
    ),
    "cifar of Keras 3": (
        "cifar10",
        lambda: {
            f"cifar-10-batches-py-target/cifar-10-batches-py/{k}": v
            for k, v in cifar_batches().items()
        },
    ),
    "cifar npz": (
        "cifar10",
        lambda: {"cifar10.npz": npz(CIFAR_IMAGES, CIFAR_LABELS, 50)},
    ),
    "cifar python folder": (
        "cifar10",
        lambda: {f"cifar-10-batches-py/{k}": v for k, v in cifar_batches().items()},
    ),
    "cifar binary folder": (
        "cifar10",
        lambda: {
            f"cifar-10-batches-bin/{k}": v for k, v in cifar_batches(True).items()
        },
    ),
    "cifar python archive": (
        "cifar10",
        lambda: {
            "cifar-10-python.tar.gz": tar(cifar_batches(), "cifar-10-batches-py/")
        },
    ),
    "cifar binary archive": (
        "cifar10",
        lambda: {
            "cifar-10-binary.tar.gz": tar(cifar_batches(True), "cifar-10-batches-bin/")
        },
    ),
    "fer csv": ("fer2013", lambda: {"fer2013.csv": fer_table()}),
    "fer upper case": ("fer2013", lambda: {"Data/FER2013.CSV": fer_table()}),
    "fer icml": (
        "fer2013",
        lambda: {"icml_face_data.csv": fer_table("emotion,Usage,pixels")},
    ),
    "fer shuffled usages": (
        "fer2013",
        lambda: {
            "fer2013.csv": fer_table(rows=[*range(25, 30), *range(20), *range(20, 25)])
        },
    ),
    "fer windows line ends": (
        "fer2013",
        lambda: {"fer2013.csv": fer_table().replace(b"\n", b"\r\n")},
    ),
    "fer tar": (
        "fer2013",
        lambda: {
            "fer2013.tar.gz": tar(
                {"README": b"hello", "fer2013.csv": fer_table()}, "fer2013/"
            )
        },
    ),
    "fer zip": (
        "fer2013",
        lambda: {"archive.zip": zipped({"fer2013/fer2013.csv": fer_table()})},
    ),
    "fer csv.zip": ("fer2013", lambda: {"x.csv.zip": zipped({"x.csv": fer_table()})}),
    "fer zip called csv": (
        "fer2013",
        lambda: {"fer2013.csv": zipped({"fer2013.csv": fer_table()})},
    ),
    "fer tar called csv": (
        "fer2013",
        lambda: {"fer2013.csv": tar({"fer2013.csv": fer_table()}, mode="w:")},
    ),
    "fer zip in zip in tar": (
        "fer2013",
        lambda: {
            "a.tar": tar(
                {"b.zip": zipped({"c.zip": zipped({"fer2013.csv": fer_table()})})},
                mode="w:",
            )
        },
    ),
    "fer beside the challenge's train.csv": (
        "fer2013",
        lambda: {"a/train.csv": b"emotion,pixels\n0,1 2\n", "z.csv": fer_table()},
    ),
    "fer competition": (
        "fer2013",
        lambda: {
            "challenges.zip": zipped(
                {
                    "train.csv": b"x",
                    "fer2013.tar.gz": tar({"fer2013/fer2013.csv": fer_table()}),
                }
            )
        },
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_arrays(raw, shape):
    name, files = SHAPES[shape]
    put(raw, files())
    dataset = datasets.load(name)
    expected = {
        "cifar10": (CIFAR_IMAGES, CIFAR_LABELS),
        "fer2013": (FER_IMAGES, FER_LABELS),
        "fashion_mnist": (FASHION_IMAGES, FASHION_LABELS),
    }[name]
    assert np.array_equal(dataset.images, expected[0]) and np.array_equal(
        dataset.labels, expected[1]
    )
    assert dataset.images.dtype == np.uint8 and dataset.labels.dtype == np.int64


@pytest.mark.parametrize("packed", [False, True])
def test_pictures_and_tables_in_another_order_are_put_in_the_published_one(
    raw, tmp_path, monkeypatch, packed
):
    monkeypatch.setattr(reading, "ORDERS", tmp_path / "orders.npz")
    np.savez(
        reading.ORDERS,
        cifar10=reading.by_hash(CIFAR_IMAGES, CIFAR_LABELS),
        fashion_mnist=reading.by_hash(FASHION_IMAGES, FASHION_LABELS),
    )
    pictures, tables = cifar_pictures("cifar10/"), fashion_tables(rows="turned round")
    put(raw, {"a.zip": zipped(pictures)} if packed else pictures)
    put(raw, {"b.zip": zipped(tables)} if packed else tables)
    assert np.array_equal(datasets.load("cifar10").images, CIFAR_IMAGES)
    assert np.array_equal(datasets.load("fashion_mnist").labels, FASHION_LABELS)


def test_what_lies_there_and_cannot_be_used_is_named(raw, capsys):
    put(raw, cifar_pictures() | {"test/cat/more.png": png(CIFAR_IMAGES[0] // 2)})
    put(raw, {"cifar-100-python/train": b"x", "old.rar": b"Rar!"})
    assert not datasets.load("cifar10").available
    said = capsys.readouterr().out
    assert "raw holds other images or labels" in said
    assert "raw holds cifar-100-python, old.rar, test, train" in said
    table = fashion_tables()["fashion-mnist_train.csv"]
    put(raw, {"fashion-mnist_train.csv": table})
    put(raw, {"digit/train.csv": table.splitlines()[0]})
    assert not datasets.load("fashion_mnist").available
    said = capsys.readouterr().out
    assert "test images, test labels missing" in said
    assert "train.csv holds no row" in said
    put(raw, {"another.zip": zipped({"notes.txt": b"x" * 999})[:100]})
    put(raw, {"archive.zip": zipped({"train/disgust/a.jpg": b"x"})})
    assert not datasets.load("fer2013").available
    said = capsys.readouterr().out
    assert "archive.zip cannot be used: its pictures are compressed anew" in said
    assert said.count("compressed anew") == 1 and "another.zip is damaged" in said


def written(separator, encoding, quote, columns, upper, end, tail):
    """Return a table of the stand-ins as another program would write it."""
    cells = [[column.upper() if upper else column for column in columns]]
    for i in range(30):
        row = {
            "emotion": f"{FER_LABELS[i]}",
            "Usage": FER_USAGES[i],
            "pixels": " ".join(map(str, FER_IMAGES[i].ravel())),
            "": f"{i}",
            "note": f'"a{separator}b"',
        }
        cells.append([row[column] for column in columns])
    lines = [
        separator.join(f'"{c}"' if quote and c[:1] != '"' else c for c in row)
        for row in cells
    ]
    return (end.join(lines + tail) + end).encode(encoding)


@settings(max_examples=30, deadline=None)
@given(
    separator=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["ascii", "utf-8-sig", "utf-16"]),
    quote=st.booleans(),
    columns=st.permutations(["emotion", "Usage", "pixels", "", "note"]),
    upper=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    tail=st.lists(
        st.sampled_from(["", " ", ",,", ";;", "\t\t", "fer/README,a,b", "\0\0", "x"]),
        max_size=3,
    ),
)
def test_a_table_of_any_program_is_read(
    separator, encoding, quote, columns, upper, end, tail
):
    content = written(separator, encoding, quote, columns, upper, end, tail)
    images, labels = sources.read_fer2013(io.BytesIO(content))
    assert np.array_equal(images, FER_IMAGES) and np.array_equal(labels, FER_LABELS)


@pytest.mark.parametrize("form", ["{}.0", "[{}]", "word"])
def test_labels_and_pixels_as_pandas_writes_them(form):
    rows = ["emotion,pixels,Usage"]
    for i in range(30):
        pixels = " ".join(map(str, FER_IMAGES[i].ravel()))
        label = str(FER_LABELS[i])
        if form == "[{}]":
            pixels = '"[' + pixels.replace(" ", ", ") + ']"'
        elif form == "word":
            label = sources.FER2013_CLASSES[FER_LABELS[i]].title()
        else:
            label = form.format(label)
        rows.append(f"{label},{pixels},{FER_USAGES[i]}")
    images, labels = sources.read_fer2013(io.BytesIO("\n".join(rows).encode()))
    assert np.array_equal(images, FER_IMAGES) and np.array_equal(labels, FER_LABELS)


def test_the_cache_is_used_and_rebuilt_when_damaged(raw, monkeypatch):
    put(raw, {"fer2013.csv": fer_table()})
    datasets.load("fer2013")
    (raw / "fer2013.csv").rename(raw / "away")
    dataset = datasets.load("fer2013")
    assert isinstance(dataset.images, np.memmap) and np.array_equal(
        dataset.images, FER_IMAGES
    )
    (raw / "away").rename(raw / "fer2013.csv")
    stored = reading.CACHE / "fer2013" / "images.npy"
    for damage in (stored.read_bytes()[:1000], stored.read_bytes()[:-1] + b"!", b""):
        stored.write_bytes(damage)
        assert np.array_equal(datasets.load("fer2013").images, FER_IMAGES)


@pytest.mark.parametrize("damage", [b"", b"PK\3\4 half of it"])
def test_damaged_splits_and_orders_are_named_or_passed_over(
    damage, tmp_path, monkeypatch
):
    known = datasets.KNOWN["cifar10"]
    path = tmp_path / "data" / "splits" / "cifar10.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    monkeypatch.setattr(reading, "ROOT", tmp_path)
    monkeypatch.setattr(reading, "ORDERS", path)
    with pytest.raises(LabError, match="cifar10.npz is missing or altered"):
        reading.read_splits(known)
    images, labels = np.zeros((2, 1, 1, 1), np.uint8), np.arange(2)
    assert reading.in_order("cifar10", images, labels)[1] is labels


def test_files_are_found_five_folders_deep(raw):
    for folder, found in (("1/2/3/4/5/6", False), ("1/2/3/4/5", True)):
        put(raw, {f"{folder}/fer2013.csv": fer_table()})
        assert datasets.load("fer2013").available == found


def test_a_folder_is_found_beside_a_file_of_its_name(raw, tmp_path, monkeypatch):
    (raw / "birds").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "birds").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert reading.place("birds") == raw / "birds"


def test_a_linked_folder_is_found_and_a_loop_ends(raw, tmp_path):
    put(tmp_path / "elsewhere", cifar_batches())
    (raw / "linked").symlink_to(tmp_path / "elsewhere")
    (raw / "loop").symlink_to(raw)
    assert datasets.load("cifar10").available


def test_other_content_is_refused_with_the_place(raw, capsys):
    put(raw, {"fer2013.csv": fer_table(rows=range(29))})
    assert not datasets.load("fer2013").available
    said = capsys.readouterr().out
    assert (
        "FER2013 is skipped" in said
        and "fer2013.csv holds other images" in said
        and "1. With a free Kaggle" in said
    )


@pytest.mark.parametrize(
    "content, reason",
    [
        (fer_table()[:-100], "damaged in line 31"),
        (b"a,b\n1,2\n", "fer2013.csv has no column emotion, Usage, pixels"),
        (b"emotion,pixels\n1,2\n", "fer2013.csv has no column Usage"),
        (fer_table().replace(b"\n3,", b"\n7,", 1), "has the label 7 in line 5"),
        (fer_table().replace(b"\n3,", b"\n-1,", 1), "has the label -1 in line 5"),
        (fer_table().replace(b"\n3,", b"\nx,", 1), "damaged in line 5"),
        (b"emotion,pixels,Usage\n", "holds no row"),
        (b"emotion,pixels,Usage\nx,y,z\n", "damaged in line 2"),
        (fer_table().replace(b" 7", b" 777", 1), "damaged in line"),
        (fer_table() + b"3,1 2 x,Training\n", "damaged in line 32"),
        (b"", "fer2013.csv is empty"),
        (b"\xff\xfe<html>", "no column"),
        (b"<html>Kaggle: sign in</html>", "no column"),
    ],
)
def test_a_damaged_table_names_the_line(raw, capsys, content, reason):
    put(raw, {"fer2013.csv": content})
    assert not datasets.load("fer2013").available
    assert reason in capsys.readouterr().out


def test_a_damaged_container_is_said_and_the_next_one_used(raw):
    put(
        raw,
        {
            "cifar-10-python.tar.gz": tar(cifar_batches())[:-5000],
            "cifar-10-binary.tar.gz": tar(cifar_batches(True)),
        },
    )
    assert datasets.load("cifar10").available


def test_a_damaged_fashion_file_is_downloaded_beside_it(raw, monkeypatch):
    good = fashion_files()
    put(raw, good | {"train-images-idx3-ubyte.gz": b"<html>"}, "fashion-mnist")
    asked = []

    def collect(part, url, *_, last):
        asked.append(url.rpartition("/")[2])
        part.write_bytes(good[asked[-1]])

    monkeypatch.setattr(sources, "fetch", downloads.fetch)
    monkeypatch.setattr(downloads, "_collect", collect)
    sizes = {name: (len(content), sha256(content)) for name, content in good.items()}
    monkeypatch.setattr(sources, "FASHION_MNIST_FILES", sizes)
    for _ in range(2):  # without the cache nothing is downloaded a second time
        assert datasets.load("fashion_mnist").available
        assert asked == ["train-images-idx3-ubyte.gz"]
        mine = raw / "fashion-mnist" / asked[0]
        assert mine.read_bytes() == b"<html>"
        shutil.rmtree(reading.CACHE)


def test_what_is_not_here_is_downloaded_from_several_addresses(raw, monkeypatch):
    asked = []

    def fetch(path, urls, size, digest):
        asked.append((path.name, len(urls)))
        path.write_bytes(tar(cifar_batches(), "cifar-10-batches-py/"))
        return path

    monkeypatch.setattr(sources, "fetch", fetch)
    assert datasets.load("cifar10").available
    [(name, addresses)] = asked
    assert name == "cifar-10-python.tar.gz" and addresses >= 2


def test_kaggle_gives_fer2013_where_credentials_are(raw, tmp_path, monkeypatch):
    put(tmp_path / "hub", {"fer2013/fer2013.csv": fer_table()})
    monkeypatch.setattr(sources, "kaggle", lambda handle: tmp_path / "hub")
    assert datasets.load("fer2013").available


class Evil:
    def __reduce__(self):
        return eval, ("open('/tmp/evil-was-here', 'w')",)


def test_no_pickle_is_read_before_its_hash_matches(raw, monkeypatch, capsys):
    monkeypatch.setattr(sources, "ArraysOnly", None)
    evil = cifar_batches() | {"data_batch_3": pickle.dumps(Evil())}
    put(raw, {"cifar-10-python.tar.gz": tar({"data_batch_3": evil["data_batch_3"]})})
    assert not datasets.load("cifar10").available
    assert (
        "data_batch_3 is damaged or not the published file" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        pickle.dumps(print),
        pickle.dumps(np.array([print], dtype=object)),
        pickle.dumps(np.load),
    ],
)
def test_the_unpickler_builds_arrays_and_nothing_else(content):
    with pytest.raises(pickle.UnpicklingError, match="asks for"):
        sources.ArraysOnly(io.BytesIO(content)).load()


def linked(name, kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        one = tarfile.TarInfo(name)
        one.type, one.linkname = kind, "/etc/passwd"
        archive.addfile(one)
    return buffer.getvalue()


def link_in_zip():
    one = zipfile.ZipInfo("fer2013.csv")
    one.external_attr = 0o120777 << 16
    return zipped({one: b"/etc/passwd"})


TABLE = fer_table()


@pytest.mark.parametrize(
    "name, content",
    [
        ("fer2013.tar.gz", tar({"../fer2013.csv": TABLE})),
        ("fer2013.tar.gz", tar({"/fer2013.csv": TABLE})),
        ("fer2013.tar.gz", tar({"a/../../fer2013.csv": TABLE})),
        ("fer2013.tar.gz", linked("fer2013.csv", tarfile.SYMTYPE)),
        ("fer2013.tar.gz", linked("fer2013.csv", tarfile.LNKTYPE)),
        ("fer2013.tar.gz", linked("fer2013.csv", tarfile.FIFOTYPE)),
        ("a.zip", zipped({"../fer2013.csv": TABLE})),
        ("a.zip", zipped({"/fer2013.csv": TABLE})),
        ("a.zip", zipped({"C:\\fer2013.csv": TABLE})),
        ("a.zip", link_in_zip()),
    ],
)
def test_paths_that_leave_the_archive_and_links_are_refused(raw, capsys, name, content):
    put(raw, {name: content})
    before = sorted(raw.parent.rglob("*"))
    assert not datasets.load("fer2013").available
    assert "holds a link or a path that leaves it" in capsys.readouterr().out
    assert sorted(raw.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "name, content",
    [
        ("fer2013.tar.gz", tar({"big": b"0" * 3_000_000, "fer2013.csv": TABLE})),
        (
            "a.zip",
            zipped({"fer2013.csv": b"emotion,pixels,Usage\n" + b"0" * 3_000_000}),
        ),
    ],
)
def test_a_bomb_is_refused(raw, capsys, monkeypatch, name, content):
    monkeypatch.setattr(sources, "LARGEST", 1 << 21)
    assert len(content) < 1 << 19
    put(raw, {name: content})
    assert not datasets.load("fer2013").available
    assert "unpacks to more than 2 MB" in capsys.readouterr().out


def test_a_bomb_of_many_small_files_is_refused(raw, capsys, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST", 1 << 21)
    pictures = {f"cat/{i}.png": b"0" * 1_000_000 for i in range(3)}
    put(raw, {"a.zip": zipped(pictures)})
    assert not datasets.load("cifar10").available
    assert "a.zip unpacks to more than 2 MB" in capsys.readouterr().out


@pytest.mark.parametrize("cut", [1, 10, 100, 1000, -1])
def test_truncated_archives_are_one_sentence(raw, capsys, cut):
    put(
        raw,
        {
            "fer2013.tar.gz": tar({"fer2013.csv": TABLE})[:cut],
            "b.zip": zipped({"fer2013.csv": TABLE})[:cut],
        },
    )
    datasets.load("fer2013")
    said = capsys.readouterr().out
    assert (
        "Traceback" not in said
        and (cut == -1 or "fer2013.tar.gz is damaged" in said)
        and "b.zip is damaged" in said
    )


def test_fer2013_as_jpeg_is_a_data_set_of_its_own(raw, capsys, monkeypatch):
    for i, usage in enumerate(FER_USAGES * 3):
        emotion = datasets.KNOWN["fer2013"].classes[i % 7]
        path = (
            raw
            / "msambare"
            / ("train" if usage == "Training" else "test")
            / emotion
            / f"{usage}_{i:05d}.jpg"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (48, 48), dtype=np.uint8)).save(path)
    dataset = datasets.load("fer2013")
    said = capsys.readouterr().out
    assert "data set of its own" in said and "official" in said
    assert (
        dataset.name == "fer2013_jpeg"
        and dataset.classes == datasets.KNOWN["fer2013"].classes
    )
    assert dataset.shape == (48, 48, 1) and [
        len(dataset.splits[s]) for s in reading.SPLITS
    ] == [60, 15, 15]
    monkeypatch.setattr(plan, "BATCH", raw.parent / "retrain.json")
    plan.train(["fer2013/dense/main/seed-0"])
    said = capsys.readouterr().out
    assert "dense/main/seed-0 is left out: its images are not here" in said
    for path in raw.rglob("*.jpg"):
        path.rename(path.with_name("im" + path.name.split("_")[1]))
    dataset = datasets.load("fer2013_jpeg")
    assert "validation drawn from training" in capsys.readouterr().out
    assert len(dataset.splits["test"]) == 30
