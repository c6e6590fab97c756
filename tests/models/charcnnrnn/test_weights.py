"""What the authors' code wrote: read strictly, or refused. No released file was at hand: the tests write such files,
and compute what their graphs mean on their own."""

from __future__ import annotations

import importlib.util
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pinxit
from pinxit.apps.cli import import_
from pinxit.errors import PinxitError
from pinxit.models.charcnnrnn.weights import import_release
from pinxit.text.char_cnn_rnn import characters, load
from pinxit.torch7 import Object

_spec = importlib.util.spec_from_file_location("torch7_files", Path(__file__).parents[2] / "test_torch7.py")
assert _spec is not None
assert _spec.loader is not None
torch7_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(torch7_files)
Held, lua, written = torch7_files.Held, torch7_files.lua, torch7_files.written

Node = dict[Any, Any]


def node(module: Object | None, *inputs: Node) -> Node:
    """The `data` of a node of nngraph."""
    mapindex: dict[Any, Any] = dict(enumerate(inputs, 1))
    mapindex |= {Held(one): i for i, one in enumerate(inputs, 1)}
    made: Node = {"annotations": {}, "mapindex": mapindex, "input": {}}
    return made if module is None else {**made, "module": module}


def graph(output: Node) -> Object:
    outnode = lua("nngraph.Node", data=node(None, output), children=[], id=1)
    return lua("nn.gModule", outnode=outnode, verbose=False, output=np.zeros(0, np.float32))


def identity(place: int = 0) -> Node:
    """An input of a graph, the first or another; that number is for `walked` alone."""
    return {**node(lua("nn.Identity")), "place": place}


class Flat:
    """As the official code keeps all weights: views of one long array."""

    def __init__(self) -> None:
        self.all, self.at = np.random.default_rng(0).normal(0, 0.4, 20_000).astype(np.float32), 0

    def take(self, *shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        self.at += size
        return self.all[self.at - size : self.at].reshape(shape)

    def linear(self, inputs: int, outputs: int) -> Object:
        return lua("nn.Linear", weight=self.take(outputs, inputs), bias=self.take(outputs))

    def convolution(self, inputs: int, outputs: int) -> Object:
        weight = self.take(outputs, 4 * inputs)
        return lua("nn.TemporalConvolution", weight=weight, bias=self.take(outputs), kW=4, dW=1)


def shared(layer: Object) -> Object:
    """The layer of another step: another module with the same weights, alone in a container."""
    again = lua(layer.class_name, **layer.fields)
    return lua("nn.Sequential", modules=[again])


def add(*inputs: Node) -> Node:
    return node(lua("nn.CAddTable"), *inputs)


def mean(states: list[Node]) -> Node:
    total = states[0]
    for state in states[1:]:
        total = add(total, state)
    return node(lua("nn.MulConstant", constant_scalar=1 / len(states)), total)


def rectified(flat: Flat, steps: int, width: int, layer: Callable[[Object], Object] = shared) -> Object:
    given, before = flat.linear(width, width), flat.linear(width, width)
    states: list[Node] = []
    for step in range(steps):
        new = node(layer(given), identity(step))
        if states:
            new = add(new, node(layer(before), states[-1]))
        states.append(node(lua("nn.ReLU"), new))
    return graph(mean(states))


def gated(flat: Flat, steps: int, width: int, average: bool) -> Object:
    layers = [flat.linear(width, width) for _ in range(6)]
    of_input, of_state, in_update, state_update, in_reset, state_reset = layers
    x = identity()
    states = [node(lua("nn.Tanh"), node(shared(of_input), x))]
    for step in range(1, steps):
        x, old = identity(step), states[-1]
        update, reset = (
            node(lua("nn.Sigmoid"), add(node(shared(a), x), node(shared(b), old)))
            for a, b in ((in_update, state_update), (in_reset, state_reset))
        )
        kept = node(lua("nn.CMulTable"), reset, old)
        candidate = node(lua("nn.Tanh"), add(node(shared(of_input), x), node(shared(of_state), kept)))
        rest = node(lua("nn.AddConstant", constant_scalar=1), node(lua("nn.MulConstant", constant_scalar=-1), update))
        new = node(lua("nn.CMulTable"), update, candidate)
        states.append(add(new, node(lua("nn.CMulTable"), rest, old)))
    return graph(mean(states) if average else states[-1])


def encoder(flat: Flat, recurrence: Object, width: int, last_pool: bool, dropout: bool = True) -> Object:
    def threshold() -> Object:
        return lua("nn.Threshold", threshold=1e-6, val=0)

    def pool(stride: int) -> Object:
        return lua("nn.TemporalMaxPooling", kW=3, dW=stride)

    layers = [flat.convolution(70, 4), threshold(), pool(3), flat.convolution(4, 5), threshold(), pool(3)]
    layers += [flat.convolution(5, width), threshold(), *([pool(2)] if last_pool else [])]
    below = node(lua("nn.Sequential", modules=layers), identity())
    below = node(recurrence, node(lua("nn.SplitTable", dimension=2), below))
    if dropout:
        below = node(lua("nn.Dropout", p=0), below)
    return graph(node(flat.linear(width, 7), below))


def computed(module: Object, x: Any) -> Any:
    """What Torch computes of one sentence: x is [time, channels], a vector, or a list of these."""
    f = module.fields
    match module.class_name.removeprefix("nn."):
        case "Identity" | "Dropout":
            return x
        case "Sequential":
            for part in f["modules"]:
                x = computed(part, x)
            return x
        case "TemporalConvolution":
            return np.stack([f["weight"] @ x[t : t + 4].ravel() + f["bias"] for t in range(len(x) - 3)])
        case "Threshold":
            return np.where(x > f["threshold"], x, f["val"])
        case "TemporalMaxPooling":
            return np.stack([x[t : t + f["kW"]].max(axis=0) for t in range(0, len(x) - f["kW"] + 1, f["dW"])])
        case "SplitTable":
            return list(x)
        case "Linear":
            return f["weight"] @ x + f["bias"]
        case "ReLU":
            return np.maximum(x, 0)
        case "Tanh":
            return np.tanh(x)
        case "Sigmoid":
            return 1 / (1 + np.exp(-x))
        case "CAddTable":
            return x[0] + x[1]
        case "CMulTable":
            return x[0] * x[1]
        case "MulConstant":
            return x * f["constant_scalar"]
        case "AddConstant":
            return x + f["constant_scalar"]
        case "gModule":
            return walked(f["outnode"].fields["data"]["mapindex"][1], list(x) if isinstance(x, list) else [x])
    raise AssertionError(module.class_name)


def walked(last: Node, given: Sequence[Any]) -> Any:
    """The value of a graph whose inputs are `given`."""
    done: dict[int, Any] = {}

    def value(one: Node) -> Any:
        if "place" in one:
            return given[one["place"]]
        if id(one) not in done:
            of = [value(one["mapindex"][i]) for i in range(1, len(one["mapindex"]) // 2 + 1)]
            done[id(one)] = computed(one["module"], of[0] if len(of) == 1 else of)
        return done[id(one)]

    return value(last)


def checkpoint(network: Object) -> dict[str, Any]:
    return {"protos": {"enc_doc": network, "enc_image": graph(identity())}, "opt": {"emb_dim": 7}, "i": 3}


FORMS = {
    "cvpr": lambda flat: (rectified(flat, 8, 6), True, {}),
    "icml flowers": lambda flat: (rectified(flat, 8, 6, lambda layer: layer), True, {"dropout": False}),
    "icml birds": lambda flat: (gated(flat, 18, 6, True), False, {}),
    "last state": lambda flat: (gated(flat, 18, 6, False), False, {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_network_is_what_the_graph_computes(form: str, tmp_path: Path) -> None:
    flat = Flat()
    recurrence, last_pool, more = FORMS[form](flat)
    network = encoder(flat, recurrence, 6, last_pool, **more)
    alone = "icml" in form
    path = written(tmp_path / "net.t7", network if alone else checkpoint(network))

    import_.main(["charcnnrnn", str(path), "--out", str(tmp_path / "model")])
    model = pinxit.load(tmp_path / "model")
    expected_options = (201, (4, 5), 6, last_pool, form != "last state", 7)
    o = model.options
    assert (o.length, o.channels, o.hidden, o.last_pool, o.average, o.embedding) == expected_options
    assert o.recurrence == ("rectified" if last_pool else "gated")
    sentence = "this small bird has a yellow belly, black wings - and a short beak!"
    one_hot = np.zeros((201, 71), np.float32)
    one_hot[range(201), characters([sentence], 201)[0]] = 1
    want = torch.from_numpy(np.asarray(computed(network, one_hot[:, 1:]), np.float32))
    assert want.std() > 0.01
    torch.testing.assert_close(model.embed([sentence])[0], want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(load(tmp_path / "model").encode([sentence])[0], want, rtol=1e-4, atol=1e-5)
    with pytest.raises(PinxitError, match="the model is without a network for pictures"):
        model.match([], [sentence])


def refusal(path: Path, found: Any) -> str:
    with pytest.raises(PinxitError) as error:
        import_release(written(path, found))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.t7"
    with pytest.raises(PinxitError, match=r"net\.t7' is not there"):
        import_release(path)
    with pytest.raises(PinxitError, match="what to import is 2 files"):
        import_release([path, path])
    assert "with a Table at its top" in refusal(path, {"protos": 1})
    assert "with a nn.Sequential at its top" in refusal(path, lua("nn.Sequential", modules=[]))
    assert "without a graph" in refusal(path, lua("nn.gModule"))
    assert "with nn.Identity for nn.Linear" in refusal(path, graph(identity()))
    flat = Flat()
    assert "with nn.Identity for nn.gModule" in refusal(path, graph(node(flat.linear(6, 7), identity())))
    unlike = encoder(flat, graph(mean([identity(), identity(1)])), 6, True)
    assert "with a recurrence of another form" in refusal(path, unlike)
    narrow = encoder(flat, rectified(flat, 8, 4), 6, True)
    assert "recurrence.input.weight in" in refusal(path, narrow)
    unfit = encoder(flat, rectified(flat, 9, 6), 6, True)
    assert import_release(written(path, unfit)).config["length"] != 201


def test_weights_of_other_steps_and_other_layers_are_refused(tmp_path: Path) -> None:
    flat = Flat()

    def own(layer: Object) -> Object:
        return flat.linear(6, 6)

    told = refusal(tmp_path / "net.t7", encoder(flat, rectified(flat, 3, 6, own), 6, True))
    assert "of other" in told
    assert "weights at each step, expected shared" in told
    flat = Flat()
    network = encoder(flat, rectified(flat, 8, 6), 6, True)
    layers = network.fields["outnode"].fields["data"]["mapindex"][1]
    while layers["module"].class_name != "nn.Sequential":
        layers = layers["mapindex"][1]
    layers["module"].fields["modules"][1].fields["threshold"] = 0.5
    assert "threshold of layer 2 in" in refusal(tmp_path / "net.t7", network)
    layers["module"].fields["modules"][1] = lua("nn.Tanh")
    assert "with layers nn.TemporalConvolution, nn.Tanh" in refusal(tmp_path / "net.t7", network)


def test_a_damaged_graph_is_read_or_refused(tmp_path: Path) -> None:
    flat = Flat()
    good = bytes(torch7_files.Writer().write(checkpoint(encoder(flat, gated(flat, 3, 6, True), 6, False))).out)
    weights = good.find(b"torch.FloatStorage")
    chance, path, refused, lines = random.Random(0), tmp_path / "net.t7", 0, set()
    for _ in range(200):
        data = bytearray(good)
        at = chance.choice([chance.randrange(weights), chance.randrange(weights + 80_026, len(data) - 8)])
        change = chance.choice((struct.pack("<i", chance.randrange(-1, 9)), struct.pack("<d", 7.0), b"\n"))
        data[at : at + len(change)] = change
        path.write_bytes(data)
        try:
            import_release(path)
        except PinxitError as error:
            refused += 1
            lines.add(str(error).count("\n"))
    assert refused > 50
    assert lines == {0}
