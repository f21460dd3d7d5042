"""Machines against their baseline, and infrastructure as a plan of Terraform tells of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from opslib.core.errors import InputError, OpslibError
from opslib.core.model import Origin
from opslib.drift.model import Difference, Plane
from opslib.drift.planes import Looked, looked_at, nodes_of
from opslib.drift.terraform import infrastructure_of

AWS = "registry.terraform.io/hashicorp/aws"


def change(before: Any, after: Any, *actions: str, **marks: Any) -> dict[str, Any]:
    """Return the representation of one change."""
    return {
        "actions": list(actions),
        "before": before,
        "after": after,
        "after_unknown": {},
        "before_sensitive": marks.get("before_sensitive", {}),
        "after_sensitive": marks.get("after_sensitive", {}),
    }


def resource(kind: str, name: str, of: dict[str, Any], **more: Any) -> dict[str, Any]:
    module = more.get("module_address", "")
    address = f"{module}.{kind}.{name}".lstrip(".")
    return {
        "address": address,
        "mode": "managed",
        "type": kind,
        "name": name,
        "provider_name": AWS,
        "change": of,
        **more,
    }


BEFORE = {
    "id": "i-0abc",
    "instance_type": "m7g.large",
    "monitoring": True,
    "tags": {"Name": "payments", "team": "payments"},
    "root_block_device": [{"volume_size": 50, "encrypted": True}],
    "vpc_security_group_ids": ["sg-1"],
}
AFTER = {
    "id": "i-0abc",
    "instance_type": "m7g.2xlarge",
    "monitoring": None,
    "tags": {"Name": "payments", "team": "payments", "temp": "yes"},
    "root_block_device": [{"volume_size": 200, "encrypted": True}],
    "vpc_security_group_ids": ["sg-1", "sg-open"],
}
USER_BEFORE = {"name": "app", "password": "hunter2-before", "grants": [{"name": "a", "key": "k-1"}]}
USER_AFTER = {
    "name": "app",
    "password": "hunter2-after",
    "grants": [{"name": "b", "key": "k-2"}, {"name": "a", "key": "k-3"}],
}
MARKS = {"password": True, "grants": [{"key": True}, {"key": True}]}
PLAN: dict[str, Any] = {
    "format_version": "1.2",
    "terraform_version": "1.9.5",
    "resource_drift": [
        resource("aws_instance", "web", change(BEFORE, AFTER, "update"), index=0),
        resource(
            "mysql_user",
            "app",
            change(
                USER_BEFORE,
                USER_AFTER,
                "update",
                before_sensitive={"password": True, "grants": [{"key": True}]},
                after_sensitive=MARKS,
            ),
            module_address="module.db",
        ),
        resource(
            "aws_sqs_queue",
            "jobs",
            change({"arn": "a", "policy": "secret-policy"}, None, "delete",
                   before_sensitive={"policy": True}, after_sensitive=False),
        ),
        resource("aws_ami", "base", change({"id": "a"}, {"id": "b"}, "read"), mode="data"),
        resource("aws_lb", "moved", change({"id": "a"}, {"id": "a"}, "no-op"), index="eu"),
    ],
    "resource_changes": [],
}  # fmt: skip


def saved(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    return path


def test_infrastructure_is_told_attribute_by_attribute(tmp_path: Path) -> None:
    """What a refresh found is there with both values; what was deleted is missing."""
    drifts, unread = infrastructure_of(saved(tmp_path, PLAN)).drifts()
    assert unread == ()
    assert {one.plane for one in drifts} == {Plane.INFRASTRUCTURE}
    web = {
        one.path: (str(one.difference), one.declared, one.live)
        for one in drifts
        if one.key.name == "web[0]"
    }
    assert web == {
        "instance_type": ("changed", "m7g.large", "m7g.2xlarge"),
        "monitoring": ("removed", True, None),
        "tags.temp": ("added", None, "yes"),
        "root_block_device[0].volume_size": ("changed", 50, 200),
        "vpc_security_group_ids[1]": ("added", None, "sg-open"),
    }
    (gone,) = [one for one in drifts if one.key.kind == "aws_sqs_queue"]
    assert gone.difference is Difference.MISSING
    assert not any(one.key.kind in {"aws_ami", "aws_lb"} for one in drifts)
    assert len({one.id for one in drifts}) == len(drifts)
    assert str(drifts[0].key) == "aws_instance.terraform web[0]"
    assert any(one.key.namespace == "module.db" for one in drifts)


def test_sensitive_attributes_are_tokens(tmp_path: Path) -> None:
    """What either side marks as sensitive is never shown, also where a list moved."""
    drifts, _ = infrastructure_of(saved(tmp_path, PLAN)).drifts()
    text = repr(drifts)
    for secret in ("hunter2", "secret-policy", "'k-1'", "'k-2'", "'k-3'"):
        assert secret not in text, secret
    password = next(one for one in drifts if one.path == "password")
    assert password.declared != password.live
    assert str(password.live).startswith("<masked ")


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ([], "no plan of Terraform"),
        ({"terraform_version": "1.9.5"}, "no plan of Terraform"),
        ({**PLAN, "format_version": "2.0"}, "format 2.0"),
    ],
)
def test_what_is_no_plan_is_bad_input(tmp_path: Path, document: Any, what: str) -> None:
    """Another document, another format: said with the file and what was expected."""
    with pytest.raises(InputError, match=what):
        infrastructure_of(saved(tmp_path, document))


def test_files_that_cannot_be_read_are_bad_input(tmp_path: Path) -> None:
    """No file, no JSON (a saved plan is none), nested without end."""
    with pytest.raises(InputError, match="cannot be read"):
        infrastructure_of(tmp_path / "none")
    path = tmp_path / "plan"
    for content in (b"PK\x03\x04", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no JSON"):
            infrastructure_of(path)


def test_a_plan_that_failed_is_not_whole(tmp_path: Path) -> None:
    """What it had not refreshed is unread, not without drift."""
    document = {**copy.deepcopy(PLAN), "errored": True, "resource_drift": []}
    drifts, unread = infrastructure_of(saved(tmp_path, document)).drifts()
    assert drifts == ()
    assert "ended with an error" in unread[0].why


def test_machines_are_compared_with_their_baseline() -> None:
    """One difference for each declared setting; what was not measured is unread."""
    baseline = {
        "worker-1": {
            "sysctl": {"vm.swappiness": "1", "net.ipv4.tcp_rmem": "4096 87380 6291456"},
            "hugepages": {"2Mi": 512},
            "disks": {"sda": {"scheduler": "none"}},
        },
        "worker-2": {"sysctl": {"vm.swappiness": "1"}},
    }
    facts = {
        "worker-1": {
            "sysctl": {"vm.swappiness": "60", "net.ipv4.tcp_rmem": "4096\t87380\t6291456"},
            "hugepages": {},
        }
    }
    drifts, unread = nodes_of(baseline, facts, "nodes/baseline.yaml").drifts()
    assert [(one.path, one.declared, one.live) for one in drifts] == [
        ('sysctl["vm.swappiness"]', "1", "60"),
        ('hugepages["2Mi"]', 512, None),
    ]
    assert [one.what for one in unread] == ["disks of node worker-1", "node worker-2"]
    assert drifts[0].origin == Origin("nodes/baseline.yaml", 1)
    assert {one.plane for one in drifts} == {Plane.NODES}
    with pytest.raises(InputError, match="no mapping"):
        nodes_of({"worker-1": []}, {})


class _Broken:
    name = "clouds"

    def drifts(self) -> Looked:
        raise OpslibError("no credentials")


def test_a_plane_that_fails_does_not_hide_the_others() -> None:
    """It is unread, with its reason."""
    nodes = nodes_of({"n": {"a": {"b": "1"}}}, {"n": {"a": {"b": "2"}}})
    drifts, unread, said = looked_at([_Broken(), nodes])
    assert len(drifts) == 1
    assert [(one.what, one.why) for one in unread] == [("clouds", "no credentials")]
    assert said == {
        "clouds": "could not be looked at: no credentials",
        "nodes": "1 difference",
    }
