"""What every forked run needs; torch's first optimiser alone takes seconds."""

import mlflow
import mlflow.entities  # noqa: F401
import pandas  # noqa: F401
import torch

import analysis.report  # noqa: F401
import orchestrator.closing
import orchestrator.publishing
import orchestrator.sweep  # noqa: F401

torch.set_num_threads(1)
torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
