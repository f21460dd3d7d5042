"""Everything that is edited by hand is found, and nothing else is reported."""

from __future__ import annotations

from pathlib import Path

from bench.recall import PEOPLE, WRITERS, Measurement
from bench.recall_edits import CLASSES

from opslib.kube.client import Cluster
from opslib.sandbox import cluster
from opslib.sandbox.cluster import Status


def test_every_edit_is_found_and_nothing_else(
    server: Cluster, sandbox: Status, namespace: str, tmp_path: Path
) -> None:
    """Over 1,000 edits of eight classes by six kinds of writers and five identities.

    Beside over 1,000 objects that only controllers, autoscalers and a webhook touch.
    """
    kubeconfig = Path(cluster.environment(sandbox.name)["KUBECONFIG"])
    result = Measurement(server, kubeconfig, namespace, tmp_path).run()
    print(result.table())
    print(*result.explained, sep="\n")
    print(f"{len(result.done)} edits, {len(result.missed)} missed, {len(result.more)} beside")
    assert result.untouched >= 1000
    assert result.before == []
    assert len(result.done) >= 1000
    assert {one.what for one in result.done} == set(CLASSES)
    assert {one.writer for one in result.done} == set(WRITERS)
    assert len({one.person for one in result.done}) == len(PEOPLE)
    assert result.missed == []
    assert result.more == []
