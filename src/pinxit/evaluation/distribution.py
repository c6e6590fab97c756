"""FID, KID, Inception Score, precision and recall: how two sets of pictures differ as sets, to the Inception network.

Each takes `Features`, which are computed once for all of them; `scores` does both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from pinxit.errors import expected, unknown_name
from pinxit.evaluation import distances
from pinxit.evaluation.features import PROTOCOLS, Features, Protocol, features
from pinxit.evaluation.inception import SHA256, Inception
from pinxit.evaluation.pictures import Pictures
from pinxit.evaluation.results import Score

Metric = Literal["fid", "kid", "inception_score", "precision_recall"]

SEED = 2020
"""torch-fidelity's."""

SPLITS = 10
"""Of Inception Score, as Salimans et al. 2016 had it for 50,000 pictures."""

NEIGHBOURS = 3
"""Of precision and recall, as in their paper."""


def scores(
    generated: Pictures,
    real: Pictures,
    network: Inception,
    protocol: Protocol = "pytorch-fid",
    metrics: Sequence[Metric] = get_args(Metric),
    *,
    batch: int = 32,
    seed: int = SEED,
    progress: Callable[[int, int], None] | None = None,
) -> list[Score]:
    """The metrics named, each picture having gone through the network once; features of `real` are kept in the cache.

    Under `torchrun` every rank gets them all.

    Raises:
        PinxitError: as `features` and as the metrics, before anything is computed where that is possible.
    """
    for metric in metrics:
        if metric not in get_args(Metric):
            raise unknown_name("metric", metric, get_args(Metric))
    # All that can be wrong is told before the network runs, which takes minutes.
    for pictures in (generated, real):
        _require(pictures.name, len(pictures), 2)
        if "precision_recall" in metrics:
            _require(pictures.name, len(pictures), NEIGHBOURS + 1, f", for {NEIGHBOURS} neighbours each")
        pictures.one_size()
    if "inception_score" in metrics:
        _require(generated.name, len(generated), SPLITS, f", one for each of {SPLITS} splits")
    ours = features(generated, network, protocol, batch=batch, progress=progress)
    table: list[Score] = []
    needs_real = [metric for metric in metrics if metric != "inception_score"]
    theirs = features(real, network, protocol, batch=batch, keep=True, progress=progress) if needs_real else ours
    for metric in metrics:
        match metric:
            case "fid":
                table.append(fid(ours, theirs))
            case "kid":
                table.append(kid(ours, theirs, seed=seed))
            case "inception_score":
                table.append(inception_score(ours, network, seed=seed))
            case "precision_recall":
                table += precision_recall(ours, theirs)
    return table


def fid(generated: Features, real: Features) -> Score:
    """Fréchet Inception Distance (Heusel et al. 2017): 0 for equal sets, some 5 to 100 for generators.

    It grows as pictures get fewer, most of all below some thousand, so that sets of unlike numbers do not compare.

    Raises:
        PinxitError: a set has fewer than 2 pictures, or the two were measured differently.
    """
    protocol, details = _described(generated, real)
    least = min(len(generated.values), len(real.values))
    if least <= generated.values.shape[1]:
        details["remark"] = (
            f"{least} pictures span less than the {generated.values.shape[1]} features: "
            "FID is biased upwards, compare it with the same numbers of pictures alone"
        )
    value = distances.frechet_distance(distances.gaussian(generated.values), distances.gaussian(real.values))
    return Score("FID", value, "lower", f"FID; covariances over N - 1, in float64; {protocol}", details=details)


def kid(generated: Features, real: Features, *, subsets: int = 100, size: int = 1000, seed: int = SEED) -> Score:
    """Kernel Inception Distance (Bińkowski et al. 2018), not multiplied by anything; its estimate has no bias.

    `size`: pictures in a subset; as many as the smaller set has where that is less. The spread is over subsets.

    Raises:
        PinxitError: as `fid`.
    """
    protocol, details = _described(generated, real)
    size = min(size, len(generated.values), len(real.values))
    value, spread = distances.kernel_distance(generated.values, real.values, subsets=subsets, size=size, seed=seed)
    text = f"KID, kernel (x'y/d + 1)^3, unbiased, mean of {subsets} subsets of {size} (seed {seed}); {protocol}"
    return Score("KID", value, "lower", text, spread, details)


def inception_score(generated: Features, network: Inception, *, splits: int = SPLITS, seed: int = SEED) -> Score:
    """Inception Score (Salimans et al. 2016): 1 at worst, the number of classes at best. It knows nothing of real
    pictures. The spread is over splits.

    `network` may tell classes of one's own, as StackGAN's authors have it for birds and flowers.

    Raises:
        PinxitError: there are fewer pictures than splits, or features are not those that the network's logits are of.
    """
    if generated.layer != "2048" or generated.weights != network.digest:
        got = f"of layer {generated.layer} and weights {generated.weights}"
        raise expected(f"features of {generated.name}", got, f"2048 of {network.digest}", "compute them anew")
    _require(generated.name, len(generated.values), splits, f", one for each of {splits} splits")
    protocol, details = _described(generated)
    logits = network.logits(generated.values.to(network.fc.weight.device)).cpu()
    value, spread = distances.inception_score(logits, splits=splits, seed=seed)
    classes = "logits without bias" if network.published_classes else f"{logits.shape[1]} classes, logits with bias"
    text = f"Inception Score, mean of {splits} splits after a shuffle (seed {seed}), {classes}; {protocol}"
    return Score("Inception Score", value, "higher", text, spread, details)


def precision_recall(generated: Features, real: Features, *, neighbours: int = NEIGHBOURS) -> list[Score]:
    """Improved precision and recall (Kynkäänniemi et al. 2019), here of Inception's features.

    Precision: generated pictures that lie among real ones (fidelity). Recall: real pictures that lie among generated
    ones (variety). The paper measures features of VGG-16; torch-fidelity Inception's, as here.

    Raises:
        PinxitError: as `fid`, or a set has no more pictures than `neighbours`.
    """
    protocol, details = _described(generated, real)
    for one in (generated, real):
        _require(one.name, len(one.values), neighbours + 1, f", for {neighbours} neighbours each")
    precision, recall = distances.precision_recall(generated.values, real.values, neighbours=neighbours)
    text = f"improved precision and recall, {neighbours} nearest neighbours; {protocol}"
    return [
        Score("Precision", precision, "higher", text, details=details),
        Score("Recall", recall, "higher", text, details=details),
    ]


def _described(generated: Features, real: Features | None = None) -> tuple[str, dict[str, Any]]:
    """What a score's protocol and details say of the features."""
    sets = [generated] if real is None else [generated, real]
    for one in sets:
        _require(one.name, len(one.values), 2)
        how = (one.protocol, one.layer, one.weights)
        if how != (generated.protocol, generated.layer, generated.weights):
            got = f"by {one.protocol}, layer {one.layer}, weights {str(one.weights)[:8]}"
            want = f"{generated.protocol}, {generated.layer}, {str(generated.weights)[:8]} as {generated.name}"
            raise expected(f"measurement of {one.name}", got, want, "measure both in one way")
    counts = " and ".join(f"{len(s.values)} {s.name} of {s.size[1]}x{s.size[0]}" for s in sets)
    known = (
        "inception-2015-12-05" if generated.weights == SHA256 else "an Inception network that is not the published one"
    )
    named = f"{generated.protocol} ({PROTOCOLS[generated.protocol]})"
    weights = f"{known} (SHA-256 {str(generated.weights)[:8]}), layer {generated.layer}"
    return f"{named}; {weights}; {counts}", {"weights": {"Inception": str(generated.weights)}}


def _require(name: str, count: int, least: int, why: str = "") -> None:
    if count < least:
        raise expected(f"number of {name}", count, f"at least {least}{why}", "add more")
