"""Nodes of a cluster go away and come back, on one machine: several raylets, one GCS."""

import shutil
from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster

from tests.chaos.started import PAUSE, Started
from tests.faults import runner
from tests.faults.gold import gold_of

#: Long enough to lose its node in the middle.
TRAIN = {"epochs": 40, "batch_size": 8, "lr": 0.01, "precision": "float32"}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that trains nothing; stages run on the nodes that are added."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.mark.faults
@pytest.mark.ray
@pytest.mark.parametrize("away_s", [0.0, 30.0], ids=["k07", "k08"])
def test_k07_k08_a_node_that_is_lost_and_another_that_comes_cost_no_stage(
    golden, tmp_path, cluster, away_s
):
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(golden[0] / "data", undisturbed / "data")
    recipe = runner.small(train=TRAIN)
    assert runner.run(undisturbed, recipe=recipe).status == 0
    root = tmp_path / "root"
    shutil.copytree(golden[0] / "data", root / "data")
    node = cluster.add_node(num_cpus=1)
    start = Started(root, recipe, "ray", flags=("--address", cluster.address))
    assert start.wait(start.trains, runner.HANG_S), start.printed()
    cluster.remove_node(node, allow_graceful=False)
    PAUSE.wait(away_s)
    cluster.add_node(num_cpus=1)
    start.process.join(runner.HANG_S)
    assert start.process.exitcode == 0, start.printed()
    assert gold_of(root) == gold_of(undisturbed)
    assert start.trained_again() == 0
    assert not ray.is_initialized()
