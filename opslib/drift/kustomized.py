"""Edits of kustomizations: every place that may rule a field, the most specific first.

Which one does is not worked out but tried: an edit counts when the rendering proves it (see
``ground``). Lines that are there go before new ones, patches before what they patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from opslib.core.errors import OpslibError
from opslib.core.model import Manifest, Resource
from opslib.drift import newpatch, transformers
from opslib.drift.edit import adopted, place_of
from opslib.drift.ground import Candidates, Edits, Ground
from opslib.drift.layers import Layer, Patch, layers, names_for, patches
from opslib.drift.model import Difference, Drift
from opslib.drift.newpatch import GONE
from opslib.drift.plainly import amended, new_file, removed
from opslib.drift.transformers import Goal
from opslib.reconcile.fieldpath import Place, value_at
from opslib.source.yamledit import documents
from opslib.source.yamltree import CannotEdit
from opslib.source.yamlwrite import Layout, lines_of

_ODD = (OpslibError, KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What an unusual kustomization may lead to: the place is none for an edit then."""
_TRANSFORMERS = (
    transformers.images,
    transformers.replicas,
    transformers.labels,
    transformers.generated,
)


@dataclass
class Search:
    """Looks for the edit of one object in the kustomizations of a folder."""

    ground: Ground
    resource: Resource
    drift: Drift
    live: Manifest | None = None
    reasons: list[str] = field(default_factory=list)

    @cached_property
    def layers(self) -> list[Layer]:
        return layers(self.ground.tree, self.ground.folder)

    @cached_property
    def original(self) -> Manifest | None:
        """The document that the object comes from, before any kustomization changed it."""
        origin = self.resource.origin
        try:
            found = documents(self.ground.tree.text(origin.path), origin.path)
        except OpslibError:
            return None
        for _, one in found:
            value: Any = one.manifest
            fits = isinstance(value, dict) and value.get("kind") == self.resource.kind
            if fits and one.line == origin.line and isinstance(value.get("metadata"), dict):
                return dict(value)
        return None

    @cached_property
    def own(self) -> bool:
        """Whether the object's file is one that this app may edit."""
        named = {
            layer.at(str(name)) for layer in self.layers for name in layer.entries("resources")
        }
        return self.original is not None and self.resource.origin.path in named

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(names_for(self.layers, self.resource.name, self.original))

    @cached_property
    def patches(self) -> list[Patch]:
        key, names = self.resource.key, set(self.names)
        return [patch for layer in self.layers for patch in patches(layer, key, names)]

    def _each(self, source: Callable[..., Any], *words: Any, **more: Any) -> Candidates:
        """Yield edits as long as they can be made; keep the reason why not."""
        try:
            yield from source(*words, **more)
        except _ODD as error:
            self.reasons.append(str(error))

    # -- one field

    @cached_property
    def place(self) -> Place:
        return place_of(self.drift, self.live, self.resource.manifest)

    @cached_property
    def goal(self) -> Goal:
        there, value = value_at(self.live, self.place) if self.live else (False, None)
        return Goal(
            self.resource.kind,
            self.names,
            self.place,
            value_at(self.resource.manifest, self.place)[1],
            value if there else self.drift.live,
            gone=self.drift.difference is Difference.REMOVED,
        )

    @property
    def _value(self) -> Any:
        return GONE if self.goal.gone else self.goal.value

    def fields(self) -> Candidates:
        """Yield edits after which the field may be as it is live."""
        for layer in self.layers:
            for source in _TRANSFORMERS:
                yield from self._each(source, layer, self.goal)
        for patch in self.patches:
            yield from self._each(self._there, patch)
        yield from self._each(self._declared, there=True)
        if self.goal.gone:
            yield from self._each(self._everywhere)
        yield from self._each(self._declared, there=False)
        for patch in self.patches:
            yield from self._each(self._beside, patch)
        yield from self._each(self._new_patches)

    def _there(self, patch: Patch) -> Candidates:
        """Change a patch that has the field."""
        if isinstance(patch.value, list):
            yield from self._operations(patch)
        elif value_at(patch.value, self.place)[0]:
            if self.goal.gone:
                yield patch.amended(adopted(patch.value, self.drift, self.live))
            yield patch.amended(newpatch.merged(patch.value, self.place, self._value))

    def _operations(self, patch: Patch) -> Candidates:
        """Change a JSON patch that has an operation on the field."""
        made = newpatch.steps(self.resource.manifest, self._wanted, self.place, self._value)
        for number, one in enumerate(patch.value):
            if one.get("path") != made[-1]["path"] or one.get("op") == "test":
                continue
            before, after = patch.value[:number], patch.value[number + 1 :]
            if self.goal.gone and (before or after):
                yield patch.amended([*before, *after])
            new = made[-1] if self.goal.gone else {**one, "value": made[-1]["value"]}
            yield patch.amended([*before, new, *after])

    @property
    def _wanted(self) -> Manifest:
        return adopted(self.resource.manifest, self.drift, self.live)

    def _declared(self, there: bool) -> Candidates:  # called by _each
        """Change the file that declares the object, if it is the app's own."""
        if self.own and self.original and value_at(self.original, self.place)[0] is there:
            wanted = adopted(self.original, self.drift, self.live)
            yield self._amended(wanted)

    def _amended(self, wanted: Manifest) -> Edits:
        one = Resource(self.original or {}, self.resource.origin)
        return amended(self.ground.tree, one, wanted)

    def _everywhere(self) -> Candidates:
        """Take the field out of the file and of the patches that set it too."""
        edits: dict[str, bytes | None] = {}
        for patch in self.patches:
            if isinstance(patch.value, dict) and value_at(patch.value, self.place)[0]:
                edits |= patch.amended(adopted(patch.value, self.drift, self.live))
        for one in self._declared(there=True):
            edits |= one
        if len(edits) > 1:
            yield edits

    def _beside(self, patch: Patch) -> Candidates:
        """Let a patch of the object set the field, too."""
        if isinstance(patch.value, list):
            made = newpatch.steps(self.resource.manifest, self._wanted, self.place, self._value)
            yield patch.amended([*patch.value, *made])
            return
        for place, value in newpatch.goals(self.place, self._value, self._wanted):
            yield patch.amended(newpatch.merged(patch.value, place, value))

    def _new_patches(self) -> Candidates:
        layer, rendered = self.layers[0], self.resource.manifest
        head = newpatch.head_of(self.original, rendered, self.names)
        stem = newpatch.stem_of(head)
        for place, value in newpatch.goals(self.place, self._value, self._wanted):
            yield newpatch.with_patch(layer, stem, newpatch.merged(head, place, value))
        made = newpatch.steps(rendered, self._wanted, self.place, self._value)
        yield newpatch.with_patch(layer, stem, made, newpatch.target_of(head))
        for place, value in newpatch.whole_list(self.place, self._wanted):
            yield newpatch.with_patch(layer, stem, newpatch.merged(head, place, value))

    # -- whole objects

    def gone(self) -> Candidates:
        """Yield edits after which the object may not be declared any more."""
        for layer in self.layers:
            yield from self._each(transformers.without_generator, layer, self.names)
        yield from self._each(self._undeclared, unpatched=False)
        yield from self._each(self._undeclared, unpatched=True)
        yield from self._each(self._deleted)

    def _undeclared(self, unpatched: bool) -> Candidates:  # called by _each
        """Take the document out, and what names its file; with the patches that are for it."""
        if not self.own or self.original is None:
            return
        edits = dict(removed(self.ground.tree, Resource(self.original, self.resource.origin)))
        for layer in self.layers:
            fields: dict[str, Any] = {}
            path = self.resource.origin.path
            if edits.get(path, b"") is None:
                names = layer.entries("resources")
                left = [name for name in names if layer.at(str(name)) != path]
                fields |= {"resources": left or None} if len(left) < len(names) else {}
            if unpatched:
                fields |= self._without_patches(layer, edits)
            if fields:
                edits |= layer.changed(**fields)
        if unpatched is bool(self.patches):
            yield edits

    def _without_patches(self, layer: Layer, edits: dict[str, bytes | None]) -> dict[str, Any]:
        mine = [patch for patch in self.patches if patch.layer.path == layer.path]
        found: dict[str, Any] = {}
        for name in {patch.name for patch in mine}:
            numbers = {patch.number for patch in mine if patch.name == name and patch.alone}
            left = [e for n, e in enumerate(layer.entries(name)) if n not in numbers]
            found[name] = left or None
        edits |= {patch.path: None for patch in mine if patch.path and patch.alone}
        return found

    def _deleted(self) -> Candidates:
        head = newpatch.head_of(self.original, self.resource.manifest, self.names)
        stem = newpatch.stem_of(head)
        yield newpatch.with_patch(self.layers[0], stem, {"$patch": "delete", **head})


def added(ground: Ground, manifest: Manifest) -> Iterator[Edits]:
    """Yield edits after which a kustomization also has this object."""
    layer = layers(ground.tree, ground.folder)[0]
    before, after = layer.affixes
    path = new_file(ground, manifest)
    metadata = manifest["metadata"]
    plain = str(metadata["name"]).removeprefix(before).removesuffix(after)
    given = layer.value.get("commonLabels") or {}
    own = {k: v for k, v in (metadata.get("labels") or {}).items() if given.get(k) != v}
    bare = {**metadata, "name": plain, "labels": own}
    if not own:
        del bare["labels"]
    names = [*layer.entries("resources"), path.removeprefix(f"{ground.folder}/")]
    for one in (metadata, bare):
        lines = lines_of({**manifest, "metadata": one}, 0, layout=Layout())
        yield {path: ("\n".join(lines) + "\n").encode(), **layer.changed(resources=names)}
        if one == bare:
            return


def no_layer(ground: Ground) -> CannotEdit | None:
    """Return why nothing can be edited; None where something can."""
    if layers(ground.tree, ground.folder):
        return None
    return CannotEdit("its kustomization cannot be read")
