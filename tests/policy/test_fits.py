"""The quick check: what it calls fitting fits for jsonschema too, on edits of real shapes."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from bench import load

from opslib.policy import schema
from opslib.source.example import example_folder
from opslib.source.yamlload import load_documents

RELEASE = "1.37"
EDITS = 3000
SERVED = {"extensions/v1beta1": "apps/v1", "policy/v1beta1": "policy/v1"}
ODD: tuple[Any, ...] = (None, True, 0, 7, 1.0, 2.5, "", "text", "Always", "TCP", [], {}, ["x"])


def _seeds() -> list[dict[str, Any]]:
    """Return the example's objects that Kubernetes itself has."""
    found = [
        document.manifest
        for file in sorted(example_folder().glob("*/*.yaml"))
        if "kustom" not in file.name
        for document in load_documents(file.read_text(), file.name)
    ]
    found += _right()
    for one in found:
        one["apiVersion"] = SERVED.get(one["apiVersion"], one["apiVersion"])
    return [one for one in found if schema._schema(RELEASE, one["apiVersion"], one["kind"])]


def _right() -> list[dict[str, Any]]:
    """Return a ConfigMap, a Service and a Deployment that are as they should be."""
    texts = [shape.format(i=1) for shape in load.SHAPES]
    return [document.manifest for text in texts for document in load_documents(text, "load.yaml")]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys or indexes."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(pairs):
        yield value, key
        if isinstance(part, dict | list):
            yield from _places(part)


def _edited(seed: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Return a copy with one to three values replaced, removed or added."""
    one = copy.deepcopy(seed)
    for _ in range(chance.randint(1, 3)):
        container, key = chance.choice(list(_places(one)))
        what = chance.randrange(3)
        if what == 0:
            container[key] = copy.deepcopy(chance.choice(ODD))
        elif what == 1:
            del container[key]
        elif isinstance(container, dict):
            container[chance.choice(["extra", "name", "spec", "status"])] = chance.choice(ODD)
        if not one:
            break
    return one


def test_what_is_called_fitting_fits_for_jsonschema() -> None:
    """Never True where jsonschema finds an error; True wherever it finds none, but for a few."""
    chance = random.Random(20261124)  # noqa: S311  # a repeatable test
    seeds = _seeds()
    assert len(seeds) > 5
    fitting = unknown = 0
    for number in range(EDITS):
        seed = seeds[number % len(seeds)]
        names = RELEASE, seed["apiVersion"], seed["kind"]
        one = _edited(seed, chance)
        valid = schema._validator(*names).is_valid(one)
        if schema._fits(*names)(one):
            fitting += 1
            assert valid, json.dumps(one)
        elif valid:
            unknown += 1
    print(f"{EDITS} edits: {fitting} called fitting, 0 wrongly; {unknown} fit and were not known")
    assert fitting > EDITS / 20
    assert unknown < fitting / 10


def test_right_objects_are_known_to_fit() -> None:
    """As they are, they need no jsonschema."""
    found = _right()
    assert len(found) == 3
    for one in found:
        assert schema._fits(RELEASE, one["apiVersion"], one["kind"])(one), one["kind"]


def test_jsonschema_is_not_loaded_for_what_fits() -> None:
    """A plan of right objects pays neither for the import nor for the validators."""
    code = (
        "import sys\n"
        "from opslib.core.model import Origin, Resource\n"
        "from opslib.policy import check\n"
        "m = {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'a'}, 'data': {}}\n"
        "assert not check([Resource(m, Origin('f', 1))]).findings\n"
        "assert 'jsonschema' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
