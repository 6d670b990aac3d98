"""Nested boxes of a Keras graph: stages of blocks of layers, and the data flow between them."""

from __future__ import annotations

import graphlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kzoo.analysis.diagram.words import Segment, segments
from kzoo.core.lazy import keras
from kzoo.nn.graph import functional, nodes

Scope = tuple[str, ...]
HIDDEN = ("Identity", "Pad", "ZeroPadding1D", "ZeroPadding2D")
APART = ("logits", "features", "embedding")  # are named, and in no scope
BLOCK = re.compile(r"(block|module|tree|layer)\d+$")
ATTACHED = ("norm", "activation", "dropout")  # are drawn at the end of what they follow


@dataclass(eq=False)
class Step:
    """One call of an operation, or the input.

    Attributes:
        segments: its labels, one for each coloured part.
        shape: of its output, without the batch.
        scope: names of the boxes that it is in; None while that is unknown.
        inputs: the steps that it reads.
        users: the steps that read it.
        begins: it reads nothing but the outputs of stages.
        depth: number of steps on the longest path to it.
    """

    segments: list[Segment]
    shape: tuple
    scope: Scope | None
    inputs: list[Step]
    users: list[Step] = field(default_factory=list)
    begins: bool = False
    depth: int = 0

    @property
    def kind(self) -> str:
        """The kind of its first part."""
        return self.segments[0].kind


@dataclass(eq=False)
class Box:
    """A scope and what is in it; also the whole network.

    Attributes:
        title: its name.
        shape: of its output.
        children: steps and boxes, in the order of computation.
        flows: between its children.
        ins: the outer steps that it reads, with the numbers of its input ports.
        outs: its steps that are read outside, with the numbers of its output ports.
        count: number of equal boxes in a row that it is drawn for.
    """

    title: str
    shape: tuple
    children: list[Step | Box]
    flows: list[Flow]
    ins: dict[Step, int]
    outs: dict[Step, int]
    count: int = 1


class Flow(NamedTuple):
    """The output of a step, from one child of a box to another; None is the outside."""

    source: Step | Box | None
    value: Step
    target: Step | Box | None


def read_graph(model: keras.Model) -> Box:
    """Return the whole network as a box."""
    steps = read_steps(model)
    settle(steps)
    return boxed(fused(steps), (), "")


def read_steps(model: keras.Model) -> list[Step]:
    """Return the calls of a model's operations in the order of computation, without identities and padding."""
    graph = functional(model)
    start = tuple(graph.inputs[0].shape[1:])
    steps = [Step([Segment("input", "input", "the input")], start, (), [])]
    made, taps = {id(graph.inputs[0]): steps[0]}, set()
    for node in nodes(graph):
        read = [made[id(tensor)] for tensor in node.input_tensors]
        if type(node.operation).__name__ in HIDDEN and read:
            step = read[0]
            taps |= {id(tensor) for tensor in node.output_tensors if type(node.operation).__name__ == "Identity"}
        else:
            step = new_step(node, list(dict.fromkeys(read)), all(id(tensor) in taps for tensor in node.input_tensors))
            steps.append(step)
        made |= {id(tensor): step for tensor in node.output_tensors}
    return steps


def new_step(node, inputs: list[Step], begins: bool) -> Step:
    """Return the step of a call, and add it to the users of those that it reads."""
    name = node.operation.name
    scope = () if name in APART else tuple(name.split(".")[:-1]) or None
    step = Step(segments(node), tuple(node.output_tensors[0].shape[1:]), scope, inputs, begins=begins)
    step.depth = 1 + max(source.depth for source in inputs)
    for source in inputs:
        source.users.append(step)
    return step


def settle(steps: Sequence[Step]) -> None:
    """Replace scopes by those that are drawn, and infer those of layers without one in their name.

    An activation, a sum or a pooling belongs to the scope of its input. If it is not the only reader of that, or reads
    the output of a stage, or splits it, it belongs to the scope of its users.
    """
    drawn = drawn_scopes(step.scope for step in steps if step.scope)
    for step in steps:
        if step.scope is not None:
            step.scope = innermost(step.scope, drawn)
        elif not (step.begins or one_of_several(step)):
            step.scope = of_inputs(step)
    for step in reversed(steps):
        if step.scope is None:
            step.scope = shared([user.scope for user in step.users])


def shared(scopes: Sequence[Scope]) -> Scope:
    """Return the innermost scope that contains all of these."""
    alike = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*scopes, strict=False))
    return tuple(names[0] for names in alike)


def one_of_several(step: Step) -> bool:
    """Return whether other steps read the same input, or several read the output of a slice or a similar step."""
    if step.kind == "combine" or len(step.inputs) != 1:
        return False
    return len(step.inputs[0].users) > 1 or (step.kind == "other" and len(step.users) > 1)


def drawn_scopes(scopes: Iterable[Scope]) -> set[Scope]:
    """Return the scopes that get a box: the outermost, blocks, and those that contain blocks."""
    found = set()
    for scope in scopes:
        depths = [depth for depth, name in enumerate(scope, start=1) if BLOCK.match(name)]
        found |= {scope[:depth] for depth in range(1, max([1, *depths]) + 1)}
    return found


def innermost(scope: Scope, drawn: set[Scope]) -> Scope:
    """Return the longest prefix of a scope that is drawn."""
    return next((scope[:depth] for depth in range(len(scope), 0, -1) if scope[:depth] in drawn), ())


def of_inputs(step: Step) -> Scope | None:
    """Return the scope of the deepest step that is read; None if unknown.

    Where it is joined with a parallel branch that is in an outer scope only, this is the outer one.
    """
    known = [source for source in step.inputs if source.scope]
    if not known:
        return None
    last = max(known, key=lambda source: source.depth)
    outer = {s for s in known if last.scope[: len(s.scope)] == s.scope and len(s.scope) < len(last.scope)}
    beside = outer - before(last) if outer else ()
    return min([last.scope, *[source.scope for source in beside]], key=len)


def before(step: Step) -> set[Step]:
    """Return the steps that this one depends on."""
    found, ahead = set(), [step]
    while ahead:
        new = set(ahead.pop().inputs) - found
        found |= new
        ahead += new
    return found


def fused(steps: Sequence[Step]) -> list[Step]:
    """Merge normalisations, activations and dropout into the step whose only user they are."""
    kept = []
    for step in steps:
        before = step.inputs[0] if len(step.inputs) == 1 else None
        fits = before and before.kind != "input" and before.users == [step] and before.scope == step.scope
        if fits and step.kind in ATTACHED:
            before.segments += step.segments
            before.shape, before.users = step.shape, step.users
            for user in step.users:
                user.inputs = [before if source is step else source for source in user.inputs]
        else:
            kept.append(step)
    return kept


def boxed(steps: Sequence[Step], scope: Scope, title: str) -> Box:
    """Return the steps of a scope as a box of steps and boxes."""
    place = places(steps, len(scope))
    children = {
        at: at if isinstance(at, Step) else boxed([step for step in steps if place[step] == at], at, at[-1])
        for at in ordered(steps, place)
    }
    flows = [Flow(children.get(s), value, children.get(t)) for s, value, t in dict.fromkeys(flows_among(steps, place))]
    ins, outs = (dict.fromkeys(f.value for f in flows if f[end] is None) for end in (0, 2))
    numbered = [{value: number for number, value in enumerate(values)} for values in (ins, outs)]
    return merged(Box(title, steps[-1].shape, list(children.values()), flows, *numbered))


def places(steps: Sequence[Step], depth: int) -> dict[Step, Step | Scope]:
    """Return the box that each step is in, itself if in none; boxes that depend on each other are opened."""
    place = {step: step.scope[: depth + 1] if len(step.scope) > depth else step for step in steps}
    while True:
        try:
            graphlib.TopologicalSorter(predecessors(steps, place)).prepare()
            return place
        except graphlib.CycleError as error:
            place = {step: step if at in error.args[1] else at for step, at in place.items()}


def ordered(steps: Sequence[Step], place: dict) -> list:
    """Return the boxes and steps in topological order."""
    first = {at: number for number, at in reversed(list(enumerate(place.values())))}
    sorter, order = graphlib.TopologicalSorter(predecessors(steps, place)), []
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=first.get)
        sorter.done(*ready)
        order += ready
    return order


def flows_among(steps: Sequence[Step], place: dict) -> Iterator[tuple]:
    """Yield the source, the value and the target of each edge between boxes."""
    for step in steps:
        yield from (
            (place.get(source), source, place[step]) for source in step.inputs if place.get(source) != place[step]
        )
        yield from ((place[step], step, None) for user in step.users if user not in place)


def predecessors(steps: Sequence[Step], place: dict) -> dict:
    """Return the boxes and steps that each box or step reads."""
    found = {place[step]: set() for step in steps}
    for source, _, target in flows_among(steps, place):
        if source is not None and target is not None:
            found[target].add(source)
    return found


def signature(node: Step | Box) -> tuple:
    """Return a key that is equal for nodes that are drawn alike but for names and shapes."""
    if isinstance(node, Step):
        return tuple((segment.kind, segment.text) for segment in node.segments)
    number = {child: index for index, child in enumerate(node.children)}
    ways = {
        (
            number.get(f.source),
            port(f.source, f.value, node.ins),
            number.get(f.target),
            port_in(f.target, f.value, node.outs),
        )
        for f in node.flows
    }
    return node.count, tuple(map(signature, node.children)), frozenset(ways)


def port(source: Step | Box | None, value: Step, ins: dict[Step, int]) -> int:
    """Return the number of the port by which a value leaves a child; from outside, by which it enters the box."""
    return ins[value] if source is None else source.outs[value] if isinstance(source, Box) else 0


def port_in(target: Step | Box | None, value: Step, outs: dict[Step, int]) -> int:
    """Return the number of the port by which a value enters a child; to the outside, by which it leaves the box."""
    return outs[value] if target is None else target.ins[value] if isinstance(target, Box) else 0


def merged(box: Box) -> Box:
    """Merge consecutive boxes that are equal."""
    for child in list(box.children):
        before = next((flow.source for flow in box.flows if flow.target is child), None)
        if isinstance(child, Box) and isinstance(before, Box) and follows(box, before, child):
            before.count += 1
            before.title = f"{before.title.partition(' ')[0]} to {child.title}"
            before.shape, before.outs = child.shape, before.outs | child.outs
            box.children.remove(child)
            box.flows = [
                flow._replace(source=before) if flow.source is child else flow
                for flow in box.flows
                if flow.target is not child
            ]
    return box


def follows(box: Box, first: Box, second: Box) -> bool:
    """Return whether the second box equals the first, and is its only user and reads nothing else."""
    after = {flow.target for flow in box.flows if flow.source is first}
    before = {flow.source for flow in box.flows if flow.target is second}
    return after == {second} and before == {first} and signature(first)[1:] == signature(second)[1:]
