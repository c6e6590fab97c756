"""The authors' releases: a `.t7` of Lua Torch, whose graph of modules is followed to tell which weights are which.

Names of classes and fields, the layout of weights and the graphs are facts read from github reedscot/cvpr2016,
reedscot/icml2016, torch/nn and torch/nngraph. In a graph (`nn.gModule`) each node has a table `data` with its `module`,
and in `data.mapindex` the data of the nodes its inputs come from, in order; `outnode` is the last.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pinxit.errors import PinxitError, expected
from pinxit.modelfile import ModelFile
from pinxit.models.charcnnrnn.config import Network
from pinxit.models.charcnnrnn.network import text_network
from pinxit.text.char_cnn_rnn import ALPHABET
from pinxit.torch7 import Object, Table, load

_MOST_NODES = 5000


class Affine(NamedTuple):
    """The weights of a linear layer, or of a convolution over time [out, 4 * in]."""

    weight: np.ndarray
    bias: np.ndarray


def import_release(source: Path | Sequence[Path]) -> ModelFile:
    """Read a `.t7` that the authors' code saved: a checkpoint with `protos.enc_doc`, or that network alone.

    Raises `PinxitError` where it is damaged, or holds another network.
    """
    sources = [source] if isinstance(source, Path) else list(source)
    if len(sources) != 1:
        raise expected("what to import", f"{len(sources)} files", "one .t7", "name one")
    path = sources[0]
    thing = f"weights '{path}'"
    network, state = read_encoder(encoder_in(load(path, "weights"), thing), thing)
    made = text_network(network)
    made.load_state_dict(state)
    card = {
        "source": f"weights of the authors' code, imported from {path.resolve().parent.name}/{path.name}",
        "licence": "reedscot/cvpr2016 names none, reedscot/icml2016 is MIT; of others' weights ask who trained them",
        "data": "sentences to embeddings",
    }
    tensors = {f"T.{name}": value.contiguous() for name, value in state.items()}
    return ModelFile("charcnnrnn", dataclasses.asdict(network), tensors, card=card)


def encoder_in(found: Any, thing: str) -> Object:
    """The network of sentences in what a file holds. Raises `PinxitError`."""
    if isinstance(found, Table) and isinstance(protos := found.get("protos"), Table):
        found = protos.get("enc_doc")
    if not isinstance(found, Object) or found.class_name != "nn.gModule":
        raise _other(thing, f"with {_named(found)} at its top")
    return found


def read_encoder(encoder: Object, thing: str) -> tuple[Network, dict[str, Tensor]]:
    """The options of a network of sentences and its weights by our names. `thing`: what messages call the file.

    Raises `PinxitError` where the graph is not that of a char-CNN-RNN.
    """
    nodes = _Graph(encoder, thing)
    head = _affine(nodes.output, "nn.Linear", thing)
    below = nodes.only_input(nodes.output)
    if _class(below) == "nn.Dropout":
        below = nodes.only_input(below)
    _require(below, "nn.gModule", thing)
    table = nodes.only_input(below)
    _require(table, "nn.SplitTable", thing)
    layers = nodes.only_input(table)
    _require(layers, "nn.Sequential", thing)

    convolutions, last_pool = _convolutions(layers.get("module"), thing)
    recurrence, linear, steps, average = _recurrence(_Graph(below.get("module"), thing), thing)
    tensors: dict[str, Tensor] = {}
    wide = len(ALPHABET)
    for i, (weight, bias) in enumerate(convolutions):
        if weight.ndim != 2 or weight.shape[1] != 4 * wide:
            got = f"of shape {list(weight.shape)}"
            raise expected(f"convolution {i + 1} in {thing}", got, f"over 4 times {wide} channels", "check the file")
        # A row is 4 letters long, each with all its channels; ours has the letters last.
        tensors[f"convolutions.{i}.weight"] = _tensor(weight.reshape(len(weight), 4, wide).transpose(0, 2, 1))
        tensors[f"convolutions.{i}.bias"] = _tensor(bias)
        wide = len(weight)
    for name, (weight, bias) in {**{f"recurrence.{k}": v for k, v in linear.items()}, "head": head}.items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = _tensor(weight), _tensor(bias)
    network = Network(
        length=_length(steps, last_pool),
        channels=(len(convolutions[0].weight), len(convolutions[1].weight)),
        hidden=wide,
        last_pool=last_pool,
        recurrence=recurrence,
        average=average,
        embedding=len(head.weight),
        pictures="features",
    )
    if network.steps != steps:
        raise _other(thing, f"of {steps} steps")
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in text_network(network).state_dict().items()}
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise expected(f"{name} in {thing}", f"of shape {list(tensors[name].shape)}", list(shape), "check the file")
    return network, tensors


class _Graph:
    """The nodes of an `nn.gModule`, each the table `data` that nngraph keeps of it."""

    def __init__(self, module: Any, thing: str) -> None:
        self.thing = thing
        outnode = module.get("outnode") if isinstance(module, Object) else None
        last = outnode.get("data") if isinstance(outnode, Object) else None
        if not isinstance(last, Table):
            raise _other(thing, "without a graph")
        self.output = self.only_input(last)
        self.nodes = [self.output]
        self._consumers: dict[int, list[Table]] = {id(self.output): []}
        for node in self.nodes:  # which grows on the way
            for one in self.inputs(node):
                if id(one) not in self._consumers:
                    self._consumers[id(one)] = []
                    self.nodes.append(one)
                self._consumers[id(one)].append(node)
            if len(self.nodes) > _MOST_NODES:
                raise _other(thing, f"of more than {_MOST_NODES} nodes")

    def inputs(self, node: Table) -> list[Table]:
        """Of a node, in order."""
        told = node.get("mapindex")
        found = told.values() if isinstance(told, Table) else []
        if not all(isinstance(one, Table) for one in found):
            raise _other(self.thing, "with a graph that leads nowhere")
        return found

    def only_input(self, node: Table) -> Table:
        found = self.inputs(node)
        if len(found) != 1:
            raise _other(self.thing, f"with {_class(node)} of {len(found)} inputs")
        return found[0]

    def consumers(self, node: Table) -> list[Table]:
        """The nodes that a node is an input of."""
        return self._consumers[id(node)]

    def consumer(self, node: Table) -> Table:
        found = self.consumers(node)
        if len(found) != 1:
            raise _other(self.thing, f"with {_class(node)} used {len(found)} times")
        return found[0]


def _convolutions(layers: Any, thing: str) -> tuple[list[Affine], bool]:
    """The three convolutions, and whether the third is pooled."""
    modules = _modules(layers)
    one = ["nn.TemporalConvolution", "nn.Threshold", "nn.TemporalMaxPooling"]
    classes = [_name(module) for module in modules]
    if classes not in (one * 3, (one * 3)[:-1]):
        raise _other(thing, f"with layers {', '.join(classes)[:120]}")
    for i, module in enumerate(modules):
        wanted: dict[str, float] = [
            {"kW": 4, "dW": 1},
            {"threshold": 1e-6, "val": 0},
            {"kW": 3, "dW": 2 if i == 8 else 3},
        ][i % 3]
        for field, want in wanted.items():
            if (got := _number(module, field)) != want:
                raise expected(f"{field} of layer {i + 1} in {thing}", got, want, "check the file")
    return [_weights(module, thing) for module in modules[::3]], len(modules) == 9


def _recurrence(graph: _Graph, thing: str) -> tuple[Literal["rectified", "gated"], dict[str, Affine], int, bool]:
    """Its kind, its weights by our names, its steps, and whether it ends in the mean of all.

    Each step has linear layers of its own that share their weights; a node's place in the graph tells what it is for.
    """
    found: dict[str, list[Affine]] = {}
    for node in graph.nodes:
        if _class(node) not in ("nn.Sequential", "nn.Linear"):
            continue
        of_input = _class(graph.only_input(node)) == "nn.Identity"
        after = graph.consumer(node)
        if _class(after) == "nn.CAddTable":
            after = graph.consumer(after)
        role = "input" if of_input else "state"
        if _class(after) == "nn.Sigmoid":  # an update gate is taken from 1, too
            role += "_update" if any(_class(n) == "nn.MulConstant" for n in graph.consumers(after)) else "_reset"
        elif _class(after) not in ("nn.Tanh", "nn.ReLU"):
            raise _other(thing, f"with {_class(after)} in its recurrence")
        found.setdefault(role, []).append(_affine(node, "nn.Linear", thing))
    classes = {_class(node) for node in graph.nodes}
    gated = "nn.Sigmoid" in classes
    roles = ["input", "state", *(("input_update", "state_update", "input_reset", "state_reset") if gated else ())]
    steps = len(found.get("input", ()))
    if [len(found.get(role, ())) for role in roles] != [steps] + [steps - 1] * (len(roles) - 1) or steps < 2:
        raise _other(thing, "with a recurrence of another form")
    if (
        set(found) != set(roles)
        or ("nn.Tanh" if gated else "nn.ReLU") not in classes
        or {"nn.Tanh", "nn.ReLU"} <= classes
    ):
        raise _other(thing, "with a recurrence of another form")
    for role, layers in found.items():
        for layer in layers[1:]:
            if not all(np.array_equal(a, b) for a, b in zip(layer, layers[0], strict=True)):
                advice = "it is none of the authors', do not use it"
                raise expected(f"the recurrence in {thing}", f"of other {role} weights at each step", "shared", advice)
    average = _class(graph.output) == "nn.MulConstant"
    factor = _number(graph.output.get("module"), "constant_scalar") if average else None
    if average and (factor is None or not math.isclose(factor, 1 / steps, rel_tol=1e-5)):
        raise expected(f"the factor of the mean in {thing}", factor, f"1 / {steps}", "check the file")
    return "gated" if gated else "rectified", {role: layers[0] for role, layers in found.items()}, steps, average


def _length(steps: int, last_pool: bool) -> int:
    """201 letters as published where they give these steps, else the fewest that do."""
    for length in (201, *range(1, 4096)):
        with_steps = _try(length, last_pool)
        if with_steps == steps:
            return length
    return 201


def _try(length: int, last_pool: bool) -> int | None:
    try:
        return Network(length=length, last_pool=last_pool).steps
    except PinxitError:
        return None


def _modules(container: Any) -> list[Object]:
    held = container.get("modules") if isinstance(container, Object) else None
    return [part for part in held.values() if isinstance(part, Object)] if isinstance(held, Table) else []


def _number(module: Object, field: str) -> float | None:
    got = module.get(field)
    return got if isinstance(got, int | float) else None


def _affine(node: Table, class_name: str, thing: str) -> Affine:
    """The weights of a node's layer, which may stand alone in a container."""
    module = node.get("module")
    if _name(module) == "nn.Sequential" and len(parts := _modules(module)) == 1:
        module = parts[0]
    if _name(module) != class_name:
        raise _other(thing, f"with {_name(module)} for {class_name}")
    return _weights(module, thing)


def _weights(module: Object, thing: str) -> Affine:
    weight, bias = module.get("weight"), module.get("bias")
    for name, array, dimensions in (("weight", weight, 2), ("bias", bias, 1)):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim != dimensions:
            got = _named(array) if not isinstance(array, np.ndarray) else f"{array.dtype} of shape {list(array.shape)}"
            raise expected(f"{name} of {_name(module)} in {thing}", got, "a float tensor", "check the file")
    return Affine(weight, bias)


def _require(node: Table, class_name: str, thing: str) -> None:
    if _class(node) != class_name:
        raise _other(thing, f"with {_class(node)} for {class_name}")


def _class(node: Table) -> str:
    return _name(node.get("module"))


def _name(module: Any) -> str:
    return _shown(module.class_name) if isinstance(module, Object) else "nothing"


def _named(found: Any) -> str:
    return f"a {_shown(found.class_name)}" if isinstance(found, Object) else f"a {type(found).__name__}"


def _shown(class_name: str) -> str:
    return re.sub(r"[^\w.]", "?", class_name[:60])


def _other(thing: str, got: str) -> PinxitError:
    advice = "give the checkpoint or the text network of reedscot/cvpr2016 or icml2016"
    return expected(thing, got, "a char-CNN-RNN of Lua Torch", advice)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float32))
