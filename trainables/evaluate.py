"""Accuracy of a network on a view, as sums and per photo. B batch, N photos, C classes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from trainables.batches import AnySource, centre_crop
from trainables.models import Network
from trainables.spec import StageSpec
from trainables.train import forward

BATCH_SIZE = 128


class StoppedError(Exception):
    """An evaluation was told to end; it has no result."""


@dataclass(frozen=True)
class Predictions:
    """Per photo of a view, in its order: label, predicted class and its softmax probabilities."""

    labels_N: NDArray[np.int64]
    predicted_N: NDArray[np.int64]
    confidence_N: NDArray[np.float32]
    probability_true_N: NDArray[np.float32]

    @property
    def correct(self) -> int:
        """Photos whose predicted class is their label (top-1, A19)."""
        return int((self.labels_N == self.predicted_N).sum())

    @property
    def seen(self) -> int:
        """Photos evaluated."""
        return len(self.labels_N)

    def as_table(self, rows_N: NDArray[np.int64]) -> pa.Table:
        """One row per photo; `row` is its row in the data set's index."""
        return pa.table(
            {
                "row": rows_N,
                "label": self.labels_N,
                "predicted": self.predicted_N,
                "confidence": self.confidence_N,
                "probability_true": self.probability_true_N,
            }
        )


@torch.inference_mode()
def evaluate(
    network: Network,
    source: AnySource,
    spec: StageSpec,
    should_stop: Callable[[], bool] = lambda: False,
) -> Predictions:
    """Predict every photo of a view once.

    Raises:
        FloatingPointError: when a logit is not finite; its argmax would look like a prediction.
        StoppedError: when `should_stop`, which is asked before each batch, says so.
    """
    network.module.eval()
    torch.backends.cudnn.benchmark = False
    n, logits = len(source.labels_N), []
    with source.ordered(np.arange(n)) as gather:
        for start in range(0, n, BATCH_SIZE):
            if should_stop():
                raise StoppedError
            rows_B = np.arange(start, min(start + BATCH_SIZE, n))
            images_BCHW = centre_crop(gather(rows_B), spec.augment.crop_px)
            logits.append(forward(network.module, images_BCHW, spec))
    logits_NC = torch.cat(logits)  # read once, at the end: a GPU would be waited for
    if not torch.isfinite(logits_NC).all():
        raise FloatingPointError("the network gives logits that are not finite")
    probability_NC = logits_NC.softmax(1)
    confidence_N, predicted_N = probability_NC.max(1)
    probability_true_N = probability_NC.gather(1, source.labels_N[:, None])[:, 0]
    return Predictions(
        source.view.labels_N,
        predicted_N.cpu().numpy(),
        confidence_N.cpu().numpy(),
        probability_true_N.cpu().numpy(),
    )
