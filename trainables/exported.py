"""A predictor as a file that needs no code of ours: torch's pt2 and ONNX, each read back to check.

Shape legend: B batch, 3 colours, H W pixels, K classes.
"""

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from trainables.errors import ConfigError, DataError
from trainables.predictor import Predictor

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
#: Largest difference of a probability between a file and its network, both in float32.
TOLERANCE = 1e-4
#: Two photos: a batch of one would be taken for the only size there is.
EXAMPLE_BATCH = 2

Predict = Callable[[Tensor], Tensor]


def export_program(predictor: Predictor) -> ExportedProgram:
    """The graph of a predictor for batches of any size."""
    side_px = predictor.canvas_px
    example_B3HW = torch.zeros((EXAMPLE_BATCH, 3, side_px, side_px), dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(predictor, (example_B3HW,), dynamic_shapes=({0: Dim.DYNAMIC},))


def write_pt2(program: ExportedProgram, file: Path) -> Predict:
    """Save a graph, and read it back from the file."""
    torch.export.save(program, file)
    return torch.export.load(file).module()


def check_onnx_installed() -> None:
    """Refuse where the optional packages are missing.

    Raises:
        ConfigError: with how to install them.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'--onnx needs {", ".join(missing)}: pip install "fine-to-coarse[onnx]"; '
            "without --onnx the model is written as pt2"
        )


def write_onnx(program: ExportedProgram, file: Path) -> Predict:
    """Save a graph as ONNX with input `photos` and output `probabilities`, and read it back."""
    import onnxruntime  # pyright: ignore[reportMissingImports]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            program,
            f=file,
            dynamo=True,
            input_names=["photos"],
            output_names=["probabilities"],
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda photos: torch.from_numpy(session.run(None, {"photos": photos.numpy()})[0])


@torch.no_grad()
def largest_difference(given: Predict, expected: Predict, photos_B3HW: Tensor) -> float:
    """Compare a file's predictions with its network's on some photos.

    Returns:
        The largest difference of a probability.

    Raises:
        DataError: when a top class differs, or a probability by `TOLERANCE` or more.
    """
    given_BK, expected_BK = given(photos_B3HW.contiguous()), expected(photos_B3HW)
    difference = float((given_BK - expected_BK).abs().max())
    n_other = int((given_BK.argmax(1) != expected_BK.argmax(1)).sum())
    if n_other or not difference < TOLERANCE:
        raise DataError(
            f"the exported model is not the network: of {len(photos_B3HW)} test photos {n_other} "
            f"get another class, and probabilities differ by up to {difference:.2g} (allowed: "
            f"{TOLERANCE:g}); nothing was written"
        )
    return difference
