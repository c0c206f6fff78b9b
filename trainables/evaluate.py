"""Accuracy of a network on a view, as sums and per photo. B batch, N photos, C classes."""

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
def evaluate(network: Network, source: AnySource, spec: StageSpec) -> Predictions:
    """Predict every photo of a view once.

    Raises:
        FloatingPointError: when a logit is not finite; its argmax would look like a prediction.
    """
    network.module.eval()
    predicted, confidence, probability = [], [], []
    n = len(source.labels_N)
    with source.ordered(np.arange(n)) as gather:
        for start in range(0, n, BATCH_SIZE):
            rows_B = np.arange(start, min(start + BATCH_SIZE, n))
            images_BCHW = centre_crop(gather(rows_B), spec.augment.crop_px)
            logits_BC = forward(network.module, images_BCHW, spec)
            if not torch.isfinite(logits_BC).all():
                raise FloatingPointError("the network gives logits that are not finite")
            probability_BC = logits_BC.softmax(1)
            best = probability_BC.max(1)
            labels_B1 = source.labels_N[start : start + len(rows_B), None]
            predicted.append(best.indices.cpu())
            confidence.append(best.values.cpu())
            probability.append(probability_BC.gather(1, labels_B1)[:, 0].cpu())
    return Predictions(
        source.view.labels_N,
        torch.cat(predicted).numpy(),
        torch.cat(confidence).numpy(),
        torch.cat(probability).numpy(),
    )
