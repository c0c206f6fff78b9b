"""Weights in and out of networks: files, torchvision's downloads, and strict loading."""

import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from itertools import repeat
from pathlib import Path
from typing import IO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainables.errors import DataError
from trainables.models import Network
from trainables.models.caffe_weights import read_caffemodel, read_npy
from trainables.models.caffemodel import looks_like_a_net
from trainables.models.catalogue import default_weights, is_torchvision
from trainables.models.npy_file import MAGIC as NPY_MAGIC
from trainables.spec import ModelSpec

#: A zip archive, and a pickle of protocol 2 on: torch's present form and its first.
ARCHIVE_MAGIC = b"PK\x03\x04"
TORCH_MAGICS = (ARCHIVE_MAGIC, b"\x80")
#: Of a class or function in a pickle; torch's own have less than 60 characters.
LONGEST_NAME = 500
#: Names and shapes of tensors, without their values.
LARGEST_PICKLE_BYTES = 64 << 20
UNSAFE_SWITCH = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
#: Classifiers that only help training of some torchvision networks; never part of ours.
TRAINING_ONLY = ("aux1.", "aux2.", "AuxLogits.")
#: Not in state dicts of torch before 0.4.1, and without effect on what a network computes.
OPTIONAL = ".num_batches_tracked"


def read_weights(path: Path, model: ModelSpec) -> dict[str, Tensor]:
    """Read a file of weights without running code from it; its content tells which kind it is.

    Known are safetensors, torch's state dicts (`.pt`, `.pth`), and for Caffe's two networks
    `.caffemodel` and caffe-tensorflow's `.npy`.

    Args:
        path: the file.
        model: whose weights they shall be; only Caffe's files are held against it here, since only
            they need renaming. `load_body` and `load_all` check all of them.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        DataError: when the file is missing, damaged, not a state dict, of another network, or holds
            Python objects.
    """
    if not path.is_file():
        raise DataError(f"there is no weights file {path}; give --model.weights FILE")
    kind = _kind(path)
    if kind == "npy":
        return read_npy(path, model)
    if kind == "caffemodel":
        return read_caffemodel(path, model)
    tensors = _read_safetensors(path) if kind == "safetensors" else _read_pickle(path)
    others = sorted(str(name) for name, value in tensors.items() if not isinstance(value, Tensor))
    if others:
        raise DataError(
            f"{path} is not a plain state dict: {', '.join(others[:10])} are not tensors; "
            "save the network's state_dict() alone"
        )
    return dict(tensors)


def _kind(path: Path) -> str:
    """By the first bytes; only what has no mark of its own goes by its suffix or structure."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(NPY_MAGIC):
        return "npy"
    if head.startswith(TORCH_MAGICS):
        return "torch"
    if head[8:] == b"{" or path.suffix == ".safetensors":
        return "safetensors"
    caffe = path.suffix == ".caffemodel" or looks_like_a_net(path)
    return "caffemodel" if caffe else "torch"


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is damaged or not a safetensors file ({error})") from error


def _read_pickle(path: Path) -> Mapping[str, Tensor]:
    _refuse_unsafe_switch()
    try:
        _refuse_long_names(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} is not a plain state dict: it is no torch file, or holds Python objects, "
            "which could run code when read; save the network's state_dict() alone"
        ) from error
    except Exception as error:  # a damaged file fails in any of a dozen ways
        raise DataError(f"{path} is damaged or truncated ({error})") from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds a {type(content).__name__}, not a state dict")
    return content


def _refuse_long_names(path: Path) -> None:
    """Torch explains what it refuses by a search that takes minutes over a long name of a class."""
    for file in _pickles(path):
        try:
            for opcode, name, _ in pickletools.genops(file):
                if opcode.name in ("GLOBAL", "INST") and len(str(name)) > LONGEST_NAME:
                    raise pickle.UnpicklingError("a name is too long")
        except (ValueError, UnicodeError) as error:
            raise pickle.UnpicklingError(str(error)) from error


def _pickles(path: Path) -> Iterator[IO[bytes]]:
    """The pickles of a torch file, each at its beginning: in an archive one, else five in a row."""
    with path.open("rb") as file:
        if file.read(4) != ARCHIVE_MAGIC:  # as torch; `is_zipfile` looks at the end
            file.seek(0)
            yield from repeat(file, 5)
            return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith("data.pkl"):
                continue
            if member.file_size > LARGEST_PICKLE_BYTES:
                raise pickle.UnpicklingError("it unpacks to too much")
            with archive.open(member) as file:
                yield file


def _refuse_unsafe_switch() -> None:
    if os.environ.get(UNSAFE_SWITCH):
        raise DataError(
            f"{UNSAFE_SWITCH} is set, with which a weights file could run any code; unset it"
        )


def torchvision_weights(name: str) -> dict[str, Tensor]:
    """Download (once) the weights that torchvision recommends for a network, checked by hash.

    Args:
        name: a network of the registry, such as `squeezenet1_1` or `alexnet_tv`.

    Raises:
        DataError: when torchvision has none for it, or they cannot be had.
    """
    if not is_torchvision(name):
        raise DataError(f"torchvision has no weights for {name}; give --model.weights FILE")
    _refuse_unsafe_switch()
    try:
        default = default_weights(name)
        tensors = default.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise DataError(
            f"torchvision's weights for {name} cannot be had ({error}); "
            "give a file with --model.weights FILE"
        ) from error
    return {_current_name(key): tensor for key, tensor in tensors.items()}


def _current_name(name: str) -> str:
    """DenseNet's published files still spell `denselayer1.norm.1` for `denselayer1.norm1`."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)


def load_body(network: Network, tensors: Mapping[str, Tensor]) -> None:
    """Copy everything but the classifier into a network, strictly.

    Args:
        network: keeps its own head.
        tensors: by parameter and buffer name; a head of any shape, or none, is passed over.

    Raises:
        DataError: listing every missing, unexpected and misshapen tensor; nothing is copied then.
    """
    skipped = (f"{network.head}.", *TRAINING_ONLY)
    _copy(
        {
            name: t
            for name, t in network.module.state_dict().items()
            if not name.startswith(skipped)
        },
        {name: t for name, t in tensors.items() if not name.startswith(skipped)},
    )


def load_all(network: Network, tensors: Mapping[str, Tensor]) -> None:
    """Copy all weights into a network, strictly, head included.

    Raises:
        DataError: listing every missing, unexpected and misshapen tensor; nothing is copied then.
    """
    _copy(network.module.state_dict(), tensors)


def interpolated(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights on the line between two networks of one kind (WiSE-FT: Wortsman et al., CVPR 2022).

    Args:
        first: by parameter and buffer name; counts of batches are taken from it.
        second: of the same names and shapes.
        share: of the second, 0 to 1.
    """
    return {
        name: torch.lerp(tensor, second[name].to(tensor), share)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in first.items()
    }


def _copy(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    faults = _faults(wanted, given)
    if faults:
        raise DataError("the weights do not fit the network:\n  " + "\n  ".join(faults))
    with torch.no_grad():
        for name in wanted.keys() & given.keys():
            wanted[name].copy_(given[name])


def _faults(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    missing = [n for n in wanted if n not in given and not n.endswith(OPTIONAL)]
    unexpected = [n for n in given if n not in wanted]
    misshapen = [
        f"{n}: shape {tuple(given[n].shape)}, wanted {tuple(wanted[n].shape)}"
        for n in wanted
        if n in given and given[n].shape != wanted[n].shape
    ]
    absent = [f"{n}: missing" for n in missing]
    return absent + [f"{n}: not in the network" for n in unexpected] + misshapen
