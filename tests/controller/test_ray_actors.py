"""Workers on a Ray cluster of three nodes: the same results as one process, also when a node dies in the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.controller.interrupting import results, spec_of, told
from tests.controller.test_workers import CASE, num_rows, once
from treereason.controller.experiment import run_experiment
from treereason.controller.model import load
from treereason.controller.run_spec import RunSpec
from treereason.controller.workers import run_with_workers
from treereason.core import UserError

pytestmark = pytest.mark.slow
STORE_BYTES = 80 * 2**20
"""Of each node: the smallest that Ray takes."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that computes nothing and three nodes of one core, each in processes of its own."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES})
    for _ in range(3):
        made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    ray.shutdown()
    made.shutdown()


def on_ray(workers: int) -> RunSpec:
    spec = spec_of(**CASE)
    return replace(spec, config=spec.config.model_copy(update={"workers": workers, "launcher": "ray"}))


def test_when_a_node_dies_its_problems_go_on_inside_on_the_others(cluster: Any, tmp_path: Path) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    spec = spec_of(**CASE)
    run_experiment(spec, load(spec.config.model), whole)
    node = cluster.list_all_nodes()[-1]  # every node has one worker
    kill = once(
        lambda: num_rows(shared, "thought_decoded") > 4, lambda: cluster.remove_node(node, allow_graceful=False)
    )
    summary = run_with_workers(on_ray(3), shared, stopped=kill)
    assert summary["status"] == "done"
    assert results(shared) == results(whole)
    assert told(shared) == told(whole)
    assert num_rows(shared, "problem_leased") > 2 * len(results(whole).splitlines()), "a problem was taken over"


def test_more_workers_than_the_cluster_has_cores_for_are_refused(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"workers=4: each needs 1 CPU, and Ray's cluster has 3"):
        run_with_workers(on_ray(4), tmp_path)
    assert cluster.list_all_nodes()
