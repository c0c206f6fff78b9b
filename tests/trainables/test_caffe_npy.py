"""`.npy` files of caffe-tensorflow: pickles that are followed and never run."""

import contextlib
import datetime
import io
import os
import pickle
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.format import MAGIC_PREFIX

from trainables.errors import DataError
from trainables.models.npy_weights import read_npy_layers
from trainables.models.pickled_arrays import DType, filled
from trainables.models.plain_pickle import ForbiddenError, read_pickle
from trainables.models.weights import read_weights
from trainables.spec import ModelSpec

RNG = np.random.default_rng(0)
KERNEL_HWIO = RNG.standard_normal((3, 2, 4, 5)).astype(np.float32)
MATRIX_IO = RNG.standard_normal((6, 3)).astype(np.float32)
LAYERS = {
    "conv1": [KERNEL_HWIO, np.arange(5, dtype=np.float32)],
    "fc7": [MATRIX_IO, np.arange(3, dtype=np.float32)],
}
HEADER = b"\x93NUMPY\x01\x00"


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def npy(content: bytes, header: str = "{'descr': '|O', 'fortran_order': False, 'shape': (), }"):
    """A `.npy` file with a payload of our own."""
    padded = header.encode() + b"\n"
    return HEADER + struct.pack("<H", len(padded)) + padded + content


def saved(layers, protocol: int) -> bytes:
    """What numpy.save writes, in a protocol of choice."""
    return npy(pickle.dumps(np.array(layers, dtype=object), protocol=protocol))


def read(tmp_path, content: bytes, order="auto"):
    path = tmp_path / "weights.npy"
    path.write_bytes(content)
    return read_npy_layers(path, order)


def right(layers) -> bool:
    return (
        list(layers) == ["conv1", "fc7"]
        and np.array_equal(layers["conv1"][0], KERNEL_HWIO.transpose(3, 2, 0, 1))
        and np.array_equal(layers["conv1"][1], LAYERS["conv1"][1])
        and np.array_equal(layers["fc7"][0], MATRIX_IO.T)
        and np.array_equal(layers["fc7"][1], LAYERS["fc7"][1])
    )


def python2(array: np.ndarray) -> bytes:
    """The array as Python 2's cPickle writes it in protocol 2: its numbers are a str."""
    sides = b"".join(b"J" + struct.pack("<i", side) for side in array.shape)
    raw = array.tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87R"
        b"(K\x01(" + sides + b"tcnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + struct.pack("<i", len(raw))
        + raw
        + b"tb"
    )


def python2_file(inner: str) -> bytes:
    """The whole file of Python 2, with lists or dictionaries within."""
    layers = b""
    for name, (weight, bias) in LAYERS.items():
        first, second = python2(weight), python2(bias)
        pair = b"](" + first + second + b"e"
        named = b"}(U\x07weights" + first + b"U\x06biases" + second + b"u"
        layers += b"U" + bytes([len(name)]) + name.encode() + (pair if inner == "list" else named)
    outer = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01)cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK?tb\x89]}(" + layers + b"uatb."
    )
    return npy(outer)


@pytest.mark.parametrize("inner", ["list", "dict"])
def test_what_python_2_saved_is_read(tmp_path, inner):
    content = python2_file(inner)
    judge = pickle.loads(content.partition(b"\n")[2], encoding="latin1")
    first = judge.item()["conv1"]["weights" if inner == "dict" else 0]
    assert np.array_equal(first, KERNEL_HWIO)
    assert right(read(tmp_path, content))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("inner", [list, tuple, dict])
def test_every_protocol_is_read(tmp_path, protocol, inner):
    names = ("weights", "biases")
    pairs = {n: dict(zip(names, p, strict=True)) for n, p in LAYERS.items()}
    layers = pairs if inner is dict else {n: inner(p) for n, p in LAYERS.items()}
    assert right(read(tmp_path, saved(layers, protocol)))


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
@pytest.mark.parametrize("order", "CF")
def test_numpys_own_files_are_read_in_any_float_and_order(tmp_path, dtype, order):
    layers = {n: [a.astype(dtype, order=order) for a in pair] for n, pair in LAYERS.items()}
    file = io.BytesIO()
    np.save(file, np.array(layers, dtype=object), allow_pickle=True)
    found = read(tmp_path, file.getvalue())["conv1"][0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, KERNEL_HWIO.transpose(3, 2, 0, 1), atol=2e-3)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    ("trap", "named"),
    [
        (Runs(os.system, "exit 1"), r"(os|posix|nt)\.system"),
        (Runs(eval, "1"), r"(builtins|__builtin__)\.eval"),
        (Runs(subprocess.Popen, "ls"), r"(subprocess|commands)\.Popen"),
        (Path("x"), "pathlib"),
        (datetime.date(2016, 1, 1), r"datetime\.date"),
        (np.arange(3), "type i8"),
        (np.array(["text"]), "type U4"),
        (np.float32, r"numpy\.float32"),
        (1j, "complex"),
        ({1}, ""),
    ],
)
def test_python_objects_are_named_and_refused(tmp_path, protocol, trap, named):
    layers = {"conv1": [KERNEL_HWIO, trap]}
    with pytest.raises(DataError, match=rf"holds Python objects \(.*{named}.*\); refused"):
        read(tmp_path, saved(layers, protocol))


def test_s01_nothing_of_a_refused_file_runs(tmp_path):
    canary = tmp_path / "canary"
    for protocol in range(6):
        content = pickle.dumps(Runs(os.system, f"touch {canary}"), protocol=protocol)
        with pytest.raises(ForbiddenError):
            read_pickle(content)
        with pytest.raises(DataError):
            read(tmp_path, npy(content))
    assert not canary.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"(S'exit 1'\nios\nsystem\n.",
        b"(cos\nsystem\nS'exit 1'\no.",
        b"\x80\x02cos\nsystem\nX\x06\x00\x00\x00exit 1\x85\x81.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",
        b"Pexit 1\n.",
        b"\x80\x02\x82\x01.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.sum\x93.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
        b"\x80\x05\x97.",
    ],
)
def test_other_ways_to_objects_are_refused(content):
    with pytest.raises(ForbiddenError):
        read_pickle(content)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_file_cut_anywhere_is_refused(tmp_path, protocol):
    small = {"fc7": [MATRIX_IO[:2, :2], MATRIX_IO[0, :2]]}
    whole = saved(small, protocol)
    for n_bytes in range(len(whole)):
        with pytest.raises(DataError, match="damaged"):
            read(tmp_path, whole[:n_bytes])


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_changed_byte_never_ends_in_more_than_a_refusal(tmp_path, protocol):
    small = {"fc7": [MATRIX_IO[:1, :1], MATRIX_IO[0, :1]]}
    whole = bytearray(saved(small, protocol))
    start = whole.index(b"\n") + 1
    for at in range(start, len(whole)):
        before = whole[at]
        for value in {0xFF, before ^ 1, ord("h"), ord("R")}:
            whole[at] = value
            with contextlib.suppress(DataError):
                read(tmp_path, bytes(whole))
        whole[at] = before


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + b"\xff" * 8 + b"x.",
        b"\x80\x02T\xff\xff\xff\x7fx.",
        b"\x80\x02T\xff\xff\xff\xffx.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x04\x95" + b"\xff" * 8 + b"}.",
        b"." * 3,
        b"h\x00.",
        b"(t" * 5000 + b".",
        b"}" + b"q\x00h\x00h\x00s" * 3 + b".",
        b"",
    ],
)
def test_lengths_that_lie_and_broken_pickles_are_refused(tmp_path, content):
    with pytest.raises(DataError):
        read(tmp_path, npy(content))


def test_references_are_not_expanded(tmp_path):
    """A "billion laughs": each list holds the one before it ten times."""
    content = b"\x80\x02]q\x00"
    for level in range(100):
        content += b"](" + b"h%c" % level * 10 + b"eq%c" % (level + 1)
    with pytest.raises(DataError):
        read(tmp_path, npy(content + b"."))


def test_memory_stays_within_the_file(tmp_path):
    """A text or an array that is remembered could be copied again and again."""
    text = b"\x80\x02X" + struct.pack("<i", 5000) + b"a" * 5000 + b"q\x000"
    encode = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(DataError, match="again and again"):
        read(tmp_path, npy(text + encode * 50 + b"."))
    shared = np.zeros((100, 100), np.float32)
    with pytest.raises(DataError, match="for several layers"):
        read(tmp_path, saved({f"fc{i}": [shared, shared] for i in range(5)}, 4))


def test_a_list_within_itself_is_refused(tmp_path):
    loop: list = []
    loop.append(loop)
    with pytest.raises(DataError, match="not a pair"):
        read(tmp_path, saved({"fc7": loop}, 2))


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([1, 2], "no dictionary of layers"),
        ({"fc7": [MATRIX_IO]}, "layer 'fc7' is not a pair"),
        ({"fc7": [1.0, 2.0]}, "layer 'fc7' is not a pair"),
        ({"fc7": {"weights": MATRIX_IO}}, "layer 'fc7' is not a pair"),
        ({"fc7": [MATRIX_IO] * 3}, "layer 'fc7' is not a pair"),
    ],
)
def test_what_is_no_dictionary_of_pairs_is_refused(tmp_path, layers, said):
    with pytest.raises(DataError, match=said):
        read(tmp_path, saved(layers, 4))


def test_a_plain_array_is_no_network(tmp_path):
    path = tmp_path / "mean.npy"
    np.save(path, np.zeros((3, 256, 256), np.float32))
    with pytest.raises(DataError, match=r"array of shape \(3, 256, 256\), not a dictionary"):
        read_weights(path, ModelSpec())


def test_another_network_is_refused_by_its_shapes(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(saved(LAYERS, 2))
    with pytest.raises(DataError, match=r"conv1\.weight: shape \(5, 4, 3, 2\), wanted \(96, 3, 11"):
        read_weights(path, ModelSpec())
    with pytest.raises(DataError, match="not squeezenet1_1"):
        read_weights(path, ModelSpec(name="squeezenet1_1"))


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (), ",
        "{'descr': '|O', 'fortran_order': False, 'shape': \x003, 4), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': '''",
        "{'descr': {}, 'fortran_order': False, 'shape': (3,), }",
        "{[]: 1}",
        "(" * 300,
    ],
)
def test_a_damaged_header_is_refused(tmp_path, header):
    path = tmp_path / "weights.npy"
    path.write_bytes(npy(b"", header))
    with pytest.raises(DataError):
        read_weights(path, ModelSpec())


def test_a_header_of_an_unknown_version_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"version \(3, 0\) is unknown"):
        read(tmp_path, MAGIC_PREFIX + b"\x03\x00" + b"\x00" * 40)


@pytest.mark.parametrize(
    ("dtype", "shape", "said"),
    [
        (None, (), "without a type"),
        (DType("f4"), [1], "without a shape"),
        (DType("f4"), (2,), "holds 1 numbers"),
        (DType("O8"), (1,), "without its objects"),
    ],
)
def test_a_state_whose_parts_do_not_fit_is_refused(dtype, shape, said):
    with pytest.raises(ValueError, match=said):
        filled(bytes(4), dtype, shape, fortran=False)
