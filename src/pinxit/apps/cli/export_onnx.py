"""Models as ONNX files: the graph of each method, written, and held against the model that it was made from.

By `torch.onnx.export(dynamo=True)`, which needs `onnxscript`. The older form does without, but it is deprecated, goes
by one example where this one reasons about all sizes, and knows of no sides that are multiples of something, as those
of a U-Net are. What neither sees through (branches on the batch, weights computed anew each time, dropout) is taken out
of a copy of the network before.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from pinxit.data.kinds import Kind
from pinxit.errors import expected
from pinxit.modelfile import ModelFile, replacing
from pinxit.nn.dropout import Dropout
from pinxit.nn.norm import BatchNorm2d, InstanceNorm2d, SpectralConv2d
from pinxit.translator import filled, options_of

if TYPE_CHECKING:
    import onnx

    from pinxit.models.cyclegan.config import Direction

TOLERANCE = 1e-4
"""By how much a value, of -1..1, may differ from the model's own."""
MOST_COMPARED = 1 << 17
"""Pixels (256 x 512) of the largest picture that is compared, unless the size is fixed."""
SMALL = 64
"""Side of the smallest picture that is compared, where the model takes that."""
MOST_BYTES = (1 << 31) - (1 << 24)
"""Of weights; with all else, protocol buffers end at 2 GiB."""
OUTPUT = "picture"


@dataclass(frozen=True)
class Input:
    """An input of a graph; `meaning` tells people of it."""

    meaning: str
    example: Callable[[int, int, int, torch.Generator], Tensor]
    """Batch, height, width -> something such as it may be given."""
    sided: bool = True
    """Whether its last two sides are those of the picture."""


@dataclass(frozen=True)
class Graph:
    """What is to be exported.

    `network`: the inputs, by name -> [N, C, H, W] in [-1, 1], in a form that can be exported.
    `plain`: the same as the model itself computes it.
    """

    network: nn.Module
    plain: Callable[..., Tensor]
    inputs: Mapping[str, Input]
    size: tuple[int, int]
    """Height and width trained at."""
    multiple: int
    smallest: int
    """What height and width must be multiples of, and at least."""
    described: Mapping[str, Any]
    """For the file's metadata: text, or JSON values."""


@dataclass(frozen=True)
class Written:
    """What `write` found: the largest difference, and the sizes and batches it was looked for at."""

    difference: float
    compared: list[tuple[int, int, int]]
    size: int
    """Bytes of the file."""


def graph_of(file: ModelFile, direction: Direction | None) -> Graph:
    """The graph of a model, without dropout; `direction`: for CycleGAN.

    Raises `PinxitError` where the weights in the file are not its network's.
    """
    if "test_dropout" in file.config:
        file = replace(file, config={**file.config, "test_dropout": False})
    graph = {"spade": spade, "pix2pixhd": pix2pixhd, "pix2pix": pix2pix, "cyclegan": lambda f: cyclegan(f, direction)}
    made = graph[file.method](file)
    licence = file.card.get("licence", "not stated: ask whoever made the model")
    common = {"method": file.method, "licence": licence, "card": dict(file.card), "config": dict(file.config)}
    sides = {"size": made.size, "multiple": made.multiple, "smallest": made.smallest}
    inputs = {name: input.meaning for name, input in made.inputs.items()}
    return replace(made, described={**common, "dropout": "off", **sides, "inputs": inputs, **made.described})


def spade(file: ModelFile) -> Graph:
    from pinxit.models.spade.config import Network
    from pinxit.models.spade.network import Generator

    c = Network(**options_of(file, {f.name for f in fields(Network)}, ()))
    G = filled(Generator(c), "G", file, torch.device("cpu"))
    inputs = {"labels": labels_input(c.labels, c.unknown)}
    if c.instances:
        inputs["instances"] = instances_input()
    if c.vae:
        inputs["z"] = Input(
            f"style, float32 [N, {c.z_dim}]: random normal numbers, or what pinxit paint --save-style saves",
            lambda n, h, w, random: torch.randn(n, c.z_dim, generator=random),
            sided=False,
        )
    multiple = 1 << G.doublings
    own = c.norm == "instance" or c.norm_at_test == "batch"
    return Graph(
        network=Spade(G),
        plain=G,
        inputs=inputs,
        size=c.size,
        multiple=multiple,
        smallest=multiple * (2 if own else 1),  # a first feature map of one pixel has no statistics
        described={**of_kinds(None, Kind()), "norm": statistics(G), "label_set": file.label_set},
    )


def pix2pixhd(file: ModelFile) -> Graph:
    from pinxit.models.pix2pixhd.generate import config_of
    from pinxit.models.pix2pixhd.network import Generator, embed

    c = config_of(file)
    G = filled(Generator(c), "G", file, torch.device("cpu"))
    labels = c.source == "labels"
    into, out = c.input or Kind(), c.output or Kind()
    inputs = {"labels": labels_input(c.labels, c.unknown)} if labels else {"input": picture_input(into)}
    if labels and c.instances:
        inputs["instances"] = instances_input()
    described: dict[str, Any] = {**of_kinds(None if labels else into, out), "norm": statistics(G)}
    if labels:
        described["label_set"] = file.label_set
    if c.features != "none":
        inputs["features"] = Input(
            f"styles, float32 [N, {c.feature_channels}, H, W] in -1..1: those of an object on all of its pixels; "
            "`styles` in the metadata lists for each label what its objects may have",
            lambda n, h, w, random: patches(lambda *size: torch.rand(*size, generator=random) * 2 - 1)(
                n, c.feature_channels, h, w
            ),
        )
        clusters, counts = file.tensors.get("styles.clusters"), file.tensors.get("styles.counts")
        if clusters is not None and counts is not None:
            described["styles"] = [rows[:n].tolist() for rows, n in zip(clusters, counts.tolist(), strict=True)]

    def plain(
        labels: Tensor | None = None,
        instances: Tensor | None = None,
        input: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        source = labels if input is None else input
        assert source is not None
        if instances is None and c.instances:  # as when translating: all of a picture is one instance
            instances = torch.zeros(len(source), *source.shape[-2:], dtype=torch.int64)
        x = embed(source, instances, c)
        return G(x if features is None else torch.cat([x, features], dim=1))

    return Graph(
        network=Pix2pixHD(G, c.labels + c.unknown, c.instances),
        plain=plain,
        inputs=inputs,
        size=c.size,
        multiple=c.multiple,
        smallest=2 * c.multiple,  # reflection and statistics want more than a pixel of the smallest features
        described=described,
    )


def pix2pix(file: ModelFile) -> Graph:
    from pinxit.models.pix2pix.generate import network_of
    from pinxit.models.pix2pix.network import generator

    c = network_of(file)
    G = filled(generator(c), "G", file, torch.device("cpu"))
    assert c.input is not None
    assert c.output is not None
    return Graph(
        network=Translation(G),
        plain=lambda input: G(input),
        inputs={"input": picture_input(c.input)},
        size=c.size,
        multiple=c.multiple,
        smallest=c.smallest,
        described={**of_kinds(c.input, c.output), "norm": statistics(G)},
    )


def cyclegan(file: ModelFile, direction: Direction | None) -> Graph:
    """Raises `PinxitError` where the file lacks the direction, too."""
    from pinxit.models.cyclegan.config import MULTIPLE, SMALLEST
    from pinxit.models.cyclegan.generate import network_of
    from pinxit.models.cyclegan.network import generator, kinds

    c = network_of(file)
    wanted = direction or c.directions[0]
    if wanted not in c.directions:
        have = " and ".join(c.directions)
        raise expected("--direction", wanted, f"{have}, which is all the model has", "choose it, or import both")
    G = filled(generator(c, wanted), wanted, file, torch.device("cpu"))
    into, out = kinds(c, wanted)
    return Graph(
        network=Translation(G),
        plain=lambda input: G(input),
        inputs={"input": picture_input(into)},
        size=c.size,
        multiple=MULTIPLE,
        smallest=SMALLEST,
        described={**of_kinds(into, out), "norm": statistics(G), "direction": wanted},
    )


def labels_input(labels: int, unknown: bool) -> Input:
    more = f", and {labels} for 'unknown'" if unknown else ""
    return Input(
        f"label map, int64 [N, H, W]: places in the label set, 0..{labels - 1}{more}; another one is no label at all",
        lambda n, h, w, random: patches(lambda *size: torch.randint(labels + unknown, size, generator=random))(n, h, w),
    )


def instances_input() -> Input:
    return Input(
        "instance map, int64 [N, H, W]: any ids; where none are known, the label map once more",
        lambda n, h, w, random: patches(lambda *size: torch.randint(9, size, generator=random))(n, h, w),
    )


def picture_input(kind: Kind) -> Input:
    return Input(
        f"picture, float32 [N, {kind.channels}, H, W]: -1 is a value of {kind.low:g}, 1 of {kind.high:g}",
        lambda n, h, w, random: torch.rand(n, kind.channels, h, w, generator=random) * 2 - 1,
    )


def patches(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`draw(N, …, H, W)`, but that squares have one value: at least 8 by 8 of them, since instance norm blows up what
    rounding leaves of a picture that is one value all over."""

    def drawn(*size: int) -> Tensor:
        *before, height, width = size
        side = max(1, min(8, height // 8, width // 8))
        coarse = draw(*before, -(-height // side), -(-width // side))
        return coarse.repeat_interleave(side, -2).repeat_interleave(side, -1)[..., :height, :width].contiguous()

    return drawn


def of_kinds(into: Kind | None, out: Kind) -> dict[str, Any]:
    return {**({"input_kind": into.as_dict()} if into else {}), "output_kind": out.as_dict()}


def statistics(network: nn.Module) -> str:
    """What the norm layers of a finished network go by."""
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d):
            return "statistics of each picture (instance norm)"
        if isinstance(module, BatchNorm2d):
            how = "of each picture" if module.picture_at_test else "gathered in training"
            return f"statistics {how} (batch norm)"
    return "none"


class Translation(nn.Module):
    """A network of pictures under the input's name."""

    def __init__(self, G: nn.Module) -> None:
        super().__init__()
        self.G = plain_layers(G)

    def forward(self, input: Tensor) -> Tensor:
        return self.G(input)


class Spade(nn.Module):
    """`spade.network.Generator` on ids, reduced by slicing, which is what `nearest` does at whole factors."""

    def __init__(self, G: nn.Module) -> None:
        super().__init__()
        self.G: Any = plain_layers(G)
        c = self.G.config
        self.embed = Semantics(c.labels + c.unknown, c.instances)

    def forward(self, labels: Tensor, instances: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        """labels [N, H, W] int64, instances likewise, z [N, z_dim] -> [N, 3, H, W]."""
        G, step = self.G, 1 << self.G.doublings
        edge = None if instances is None else boundary(instances)

        def semantics() -> Tensor:
            return self.embed(labels[:, ::step, ::step], None if edge is None else edge[:, :, ::step, ::step])

        if z is None:
            x = G.first(semantics())
        else:
            x = G.first(z).unflatten(1, (-1, *G.grid))
            grid = (labels.shape[1] // step, labels.shape[2] // step)
            x = F.interpolate(x, grid, mode="bilinear", align_corners=False)
        for block, factor in G.blocks():
            if factor == 2:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                step //= 2
            x = block(x, semantics())
        return torch.tanh(G.to_picture(F.leaky_relu(x, 0.2)))


class Pix2pixHD(nn.Module):
    """`pix2pixhd.network.Generator` and what goes before it. `labels`: how many ids there are; 0 for pictures."""

    def __init__(self, G: nn.Module, labels: int, instances: bool) -> None:
        super().__init__()
        self.G, self.instances = plain_layers(G), instances
        self.embed = Semantics(labels, instances)

    def forward(
        self,
        labels: Tensor | None = None,
        instances: Tensor | None = None,
        input: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        if input is None:
            assert labels is not None
            x = self.embed(labels, None if instances is None else boundary(instances))
        else:
            x = torch.cat([input, torch.zeros_like(input[:, :1])], dim=1) if self.instances else input
        return self.G(x if features is None else torch.cat([x, features], dim=1))


class Semantics(nn.Module):
    """Labels [N, H, W], and an edge [N, 1, H, W] -> [N, S, H, W] of 0 and 1."""

    ids: Tensor

    def __init__(self, labels: int, instances: bool) -> None:
        super().__init__()
        self.instances = instances
        self.register_buffer("ids", torch.arange(labels)[:, None, None])

    def forward(self, labels: Tensor, edge: Tensor | None) -> Tensor:
        hot = (labels[:, None] == self.ids).float()
        if not self.instances:
            return hot
        assert edge is not None
        return torch.cat([hot, edge], dim=1)


def boundary(instances: Tensor) -> Tensor:
    """As `pinxit.nn.semantics.boundary`, with nothing written in place."""
    i = instances
    differs = [
        i != torch.cat([i[:, :1], i[:, :-1]], dim=1),
        i != torch.cat([i[:, 1:], i[:, -1:]], dim=1),
        i != torch.cat([i[:, :, :1], i[:, :, :-1]], dim=2),
        i != torch.cat([i[:, :, 1:], i[:, :, -1:]], dim=2),
    ]
    return (differs[0] | differs[1] | differs[2] | differs[3])[:, None].float()


class PictureNorm(nn.Module):
    """Norm by each picture's own mean and deviation, whatever the batch."""

    def __init__(self, norm: BatchNorm2d | nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return F.instance_norm(x, None, None, self.weight, self.bias, use_input_stats=True, eps=self.eps)


def plain_layers(network: nn.Module) -> nn.Module:
    """A copy of a network in eval mode, of layers that can be exported; spectral norm is folded into the weights."""

    def changed(module: nn.Module) -> nn.Module:
        if isinstance(module, InstanceNorm2d) or (isinstance(module, BatchNorm2d) and module.picture_at_test):
            return PictureNorm(module)
        if isinstance(module, Dropout):
            return nn.Identity()
        if isinstance(module, SpectralConv2d):
            conv = nn.Conv2d(
                module.in_channels,
                module.out_channels,
                module.kernel_size,  # pyright: ignore[reportArgumentType] - two numbers
                module.stride,  # pyright: ignore[reportArgumentType]
                module.padding,  # pyright: ignore[reportArgumentType]
                bias=module.bias is not None,
            )
            conv.weight, conv.bias = nn.Parameter(module.normalized_weight()), module.bias
            return conv
        for name, child in list(module.named_children()):
            setattr(module, name, changed(child))
        return module

    return changed(copy.deepcopy(network)).eval().requires_grad_(False)


def write(graph: Graph, out: Path, *, opset: int, size: tuple[int, int] | None) -> Written:
    """Write the graph into the file `out`, once ONNX Runtime gets the model's own pictures from it.

    `size`: height and width, where they are to be fixed; the batch is not.

    Raises `PinxitError` where a picture differs by more than `TOLERANCE`, the model is larger than ONNX's files are, or
    the disk refuses it; an older file then stays.
    """
    weights = sum(tensor.nbytes for tensor in graph.network.state_dict().values())
    if weights > MOST_BYTES:
        want = "2 GB or less, which is the format's limit"
        raise expected("the model", f"{weights / 1e9:.1f} GB of weights", want, "export a smaller one")

    import onnx

    model = exported(graph, opset, size)
    sizes = compared_at(graph, size)
    with replacing(out) as temporary:
        onnx.save(model, str(temporary))
        difference = compare(graph, temporary, sizes)
        if not difference <= TOLERANCE:
            got = f"off by {difference:.1e} from the model"
            raise expected(f"'{out}'", got, f"{TOLERANCE:.0e} or less", "report it, with the model; it is not kept")
        onnx.helper.set_model_props(model, {**props(graph, size), "largest_difference": f"{difference:.1e}"})
        onnx.save(model, str(temporary))
    return Written(difference, sizes, out.stat().st_size)


def exported(graph: Graph, opset: int, size: tuple[int, int] | None) -> onnx.ModelProto:
    least = graph.smallest // graph.multiple
    batch = Dim("batch", min=1)
    sides = [graph.multiple * Dim(name, min=least) for name in ("rows", "columns")]
    # Twice and three times the least, so that no side is taken for a constant, or for the other.
    height, width = size or (2 * graph.smallest, 3 * graph.smallest)
    examples, dynamic = {}, {}
    for name, input in graph.inputs.items():
        x = examples[name] = input.example(2, height, width, torch.Generator().manual_seed(0))
        dynamic[name] = {0: batch}
        if input.sided and size is None:
            dynamic[name] |= {x.dim() - 2: sides[0], x.dim() - 1: sides[1]}
    with remarks_ignored():
        program = torch.onnx.export(
            graph.network,
            (),
            kwargs=examples,
            input_names=list(examples),
            output_names=[OUTPUT],
            dynamic_shapes=dynamic,
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # What the exporter notes of each node is for its authors, and has the paths of this machine's files in it.
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, model.graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    return model


@contextmanager
def remarks_ignored() -> Iterator[None]:
    """Without what the exporter says of its own insides: deprecated calls it makes, operators that it has not."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def props(graph: Graph, size: tuple[int, int] | None) -> dict[str, str]:
    """The file's metadata."""
    values = {**graph.described, **({"fixed_size": size} if size else {})}
    return {key: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for key, v in values.items()}


def compared_at(graph: Graph, size: tuple[int, int] | None) -> list[tuple[int, int, int]]:
    """Batches, heights and widths: what is fixed, or else the trained size and small ones of another form."""
    if size:
        return [(1, *size), (2, *size)]
    height, width = graph.size
    while height * width > MOST_COMPARED:
        height, width = height // 2, width // 2
    trained = [max(graph.smallest, side // graph.multiple * graph.multiple) for side in (height, width)]
    # Norms over the few pixels of the very smallest pictures would blow up what rounding leaves.
    s = max(graph.smallest, -(-SMALL // graph.multiple) * graph.multiple)
    return [(1, trained[0], trained[1]), (2, s, 2 * s), (3, 2 * s, s)]


def compare(graph: Graph, file: Path, sizes: list[tuple[int, int, int]]) -> float:
    """The largest difference between pictures of the file and of the model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    differences = []
    for seed, (batch, height, width) in enumerate(sizes):
        random = torch.Generator().manual_seed(seed)
        given = {name: input.example(batch, height, width, random) for name, input in graph.inputs.items()}
        with torch.inference_mode():
            want = graph.plain(**given)
        got = torch.from_numpy(session.run([OUTPUT], {name: x.numpy() for name, x in given.items()})[0])
        assert got.shape == want.shape
        differences.append((got - want).abs().max())
    return float(torch.stack(differences).max())  # not a number, where one is none
