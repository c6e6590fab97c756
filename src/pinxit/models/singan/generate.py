"""The user's verbs of SinGAN: pictures in, pictures out.

`Model`'s verbs take and give PIL pictures. Below them the same verbs work on tensors [N, 3, H, W] in [-1, 1] with the
noise handed in, so that one can see, and test against the authors' numbers, what exactly is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pinxit.data.images import to_image, to_tensor
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.singan.config import Network
from pinxit.models.singan.network import Generator
from pinxit.models.singan.palette import reduced
from pinxit.models.singan.pyramid import Pyramid, cut, enlarge, enlarging_steps, resize
from pinxit.nn.folded import Folded

Noise = Callable[..., Tensor]
"""`noise(channels, height, width)` -> standard normal [1, channels, height, width]; each call draws anew."""

LEAST_SIDE, MOST_PIXELS, MOST_ENLARGED = 8, 1 << 26, 16
STRIP = 1 << 19
"""Pixels that a network paints at once; a larger picture is painted in strips."""

MOST_SEED = (1 << 64) - 1
"""What a generator of noise takes."""

MOST_MEMORY = 2 << 30
"""Bytes that the frames of an animation may take while they are made and written."""
BYTES_OF_A_WALK, BYTES_OF_A_LOOP = 8, 32
"""What a pixel of a frame takes of that; the noise of a loop is held whole, and turned to frequencies and back."""

FEATHER = 5.0
"""Standard deviation in pixels of the blur at the border of a mask."""
HARMONIZE_GROWTH, EDIT_GROWTH = 7, 20
"""Pixels that a mask is grown by before it is blurred."""


class Model:
    """One photo's pyramid of generators. Make one with `load`.

    `sizes`: (height, width) of each scale, coarse to fine; `photo` [1, 3, H, W]: what edits are pasted into, of the
    finest size; `real`: the same as the finest scale learnt it, a level darker in the shadows (see `pyramid.resize`).
    `palette_scale`: the scale that was retrained for paintings, if any; its input is reduced to `palette` [K, 3].
    """

    def __init__(self, file: ModelFile, device: torch.device | str = "cpu") -> None:
        self.file, self.device, self.card = file, torch.device(device), file.card
        self.network, self.pyramid = network_of(file), pyramid_of(file)
        self.sizes = self.pyramid.sizes
        self.Gs = nn.ModuleList(Generator(self.network, scale) for scale in range(len(self.sizes)))
        _fill(self.Gs, file)
        self.Gs.to(self.device).eval().requires_grad_(False)
        self._fast: dict[tuple[int, torch.dtype], Folded] = {}
        try:
            self.photo, self.real, self.z_opt = (file.tensors[k].to(self.device) for k in ("photo", "real", "z_opt"))
            self.amplitudes = file.tensors["amplitudes"].tolist()
        except KeyError as error:
            raise expected("the model", f"without {error}", "whole", "train or import it again") from error
        if len(self.amplitudes) != len(self.sizes):
            got = f"of {len(self.amplitudes)} amplitudes"
            raise expected("the model", got, f"{len(self.sizes)}, one a scale", "train or import it again")
        self.palette_scale: int | None = file.config.get("palette_scale")
        if self.palette_scale is not None:
            palette = file.tensors.get("palette")
            if palette is None or palette.ndim != 2 or palette.shape[1] != 3:
                raise expected("the model", "without its palette [K, 3]", "whole", "train it again")
            self.palette = palette.to(self.device)

    @property
    def finest(self) -> int:
        return len(self.sizes) - 1

    def sample(
        self, n: int = 1, start_scale: int = 0, size: tuple[int, int] | None = None, seed: int = 0
    ) -> list[Image.Image]:
        """Random variations of the photo (Rott Shaham et al. 2019, figs. 6 to 8).

        `start_scale`: what is coarser stays as in the photo: 0 varies its layout, 1 and more only details.
        `size`: (height, width) of the pictures, the photo's by default; any aspect.

        Raises `PinxitError` for a scale the model has not, a size too small for it, or a seed beyond 64 bits.
        """
        self.require_scale(start_scale, 0)
        height, width = self.sizes[-1] if size is None else size
        self.require_size(height, width)
        if n > 1:
            self.noise(seed + n - 1)  # that there is one for the last too, before the first is painted
        stretch = (height / self.sizes[-1][0], width / self.sizes[-1][1])
        # One after the other: picture i is then the same however many are asked for.
        return [_picture(self.vary(self.noise(seed + i), 1, start_scale, stretch), (height, width)) for i in range(n)]

    def reconstruct(self) -> Image.Image:
        """The photo from the noise that training has tied to it: a check of what the model has learnt."""
        return _picture(self.reconstructions()[-1])

    def super_resolve(self, factor: float, seed: int = 0) -> Image.Image:
        """The photo enlarged by `factor`, in steps that each enlarge and paint at the finest scale (sec. 4.1).

        Best with a model trained with `--task super_resolution`.
        """
        if not 1 < factor <= MOST_ENLARGED:
            raise expected("factor", f"{factor:g}", f"above 1, at most {MOST_ENLARGED}", "choose another")
        height, width = (int(factor * side) for side in self.sizes[-1])
        self.require_size(height, width)
        return _picture(self.enlarged(self.noise(seed), factor))

    def animate(
        self,
        frames: int = 100,
        start_scale: int = 2,
        alpha: float = 0.1,
        beta: float = 0.9,
        size: tuple[int, int] | None = None,
        seed: int = 0,
        loop: bool = False,
    ) -> list[Image.Image]:
        """A walk through noise around the photo (sec. 4.5).

        `alpha`: 0..1, how strongly it is drawn back to the photo. `beta`: 0..1, how smooth it is. `start_scale`: what
        is coarser stands still. `loop`: the last frame leads to the first.

        Raises `PinxitError` for a scale the model has not, or frames that do not fit in `MOST_MEMORY`.
        """
        self.require_scale(start_scale, 0)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0 <= value <= 1:
                raise expected(name, f"{value:g}", "0..1", "choose another")
        if frames < 2:
            raise expected("frames", frames, "2 or more", "ask for more")
        height, width = self.sizes[-1] if size is None else size
        self.require_size(height, width)
        most = MOST_MEMORY // ((BYTES_OF_A_LOOP if loop else BYTES_OF_A_WALK) * height * width)
        if frames > most:
            got, want = f"{frames} of {height}x{width} (height x width)", f"at most {most} of this size"
            remedy = "ask for fewer or smaller ones"
            raise expected("frames", got, f"{want} in a loop" if loop else want, remedy)
        stretch = (height / self.sizes[-1][0], width / self.sizes[-1][1])
        walk = closed_walk if loop else open_walk
        pictures = self.walked(self.noise(seed), frames, start_scale, alpha, beta, walk, stretch)
        return [_picture(frame[None], (height, width)) for frame in pictures]

    def harmonize(self, picture: Image.Image, mask: Image.Image, start_scale: int, seed: int = 0) -> Image.Image:
        """What was pasted into the photo, made to look as if it belonged there (sec. 4.4).

        `picture`: the photo with something pasted in; `mask`: white where. Both are brought to the photo's size.
        """
        return self._blend(picture, mask, start_scale, HARMONIZE_GROWTH, seed)

    def edit(self, picture: Image.Image, mask: Image.Image, start_scale: int, seed: int = 0) -> Image.Image:
        """The photo with parts of it moved or copied, made seamless (sec. 4.3); as `harmonize`, with a wider border."""
        return self._blend(picture, mask, start_scale, EDIT_GROWTH, seed)

    def paint(self, painting: Image.Image, start_scale: int, seed: int = 0) -> Image.Image:
        """A flat painting as a photo (sec. 4.2)."""
        self.require_scale(start_scale, 1)
        fitted = self.fitted(to_tensor(painting)[None].to(self.device))
        return _picture(self.injected(self.noise(seed), fitted, start_scale))

    def _blend(self, picture: Image.Image, mask: Image.Image, start_scale: int, growth: int, seed: int) -> Image.Image:
        self.require_scale(start_scale, 1)
        fitted, area = (self.fitted(to_tensor(x)[None].to(self.device)) for x in (picture, mask.convert("RGB")))
        soft = feathered(area, growth)
        return _picture((1 - soft) * self.photo + soft * self.injected(self.noise(seed), fitted, start_scale))

    def require_scale(self, scale: int, lowest: int) -> None:
        if self.finest < lowest:  # a training that was cut short at once
            raise expected("the model", "of one scale", "two or more", "let its training go on")
        if not lowest <= scale <= self.finest:
            raise expected("start scale", scale, f"{lowest}..{self.finest}, the model's", "choose one of these")

    def require_size(self, height: int, width: int) -> None:
        if min(height, width) < LEAST_SIDE or height * width > MOST_PIXELS:
            got = f"{height}x{width} (height x width)"
            raise expected("size", got, f"{LEAST_SIDE} px to {MOST_PIXELS:,} pixels in all", "choose another")

    def noise(self, seed: int) -> Noise:
        if not 0 <= seed <= MOST_SEED:
            raise expected("seed", seed, f"0..{MOST_SEED}", "choose another")
        generator = torch.Generator().manual_seed(seed)
        return lambda *shape: torch.randn(1, *shape, generator=generator).to(self.device)

    def vary(self, noise: Noise, n: int = 1, start_scale: int = 0, stretch: tuple[float, float] = (1.0, 1.0)) -> Tensor:
        """`n` random pictures [n, 3, H, W], `stretch` times as high and wide as the photo."""
        pictures: Tensor | None = None
        begin = 0
        if start_scale > 0 and stretch != (1.0, 1.0):
            # Of another size there is no noise z_opt; what is coarser comes from the photo itself, stretched.
            begin, below = start_scale, self.reconstructions(start_scale)[-1]
            pictures = _stretched(below, _times(self.sizes[start_scale - 1], stretch)).expand(n, -1, -1, -1)
        for scale in range(begin, len(self.sizes)):
            size = _times(self.sizes[scale], stretch)
            z = torch.cat([self.draw(noise, scale, size) for _ in range(n)])
            if scale < start_scale:
                z = self.z(scale)
            pictures = self.painted(scale, z, self.lifted(pictures, scale, size, n, stretch))
        assert pictures is not None
        return pictures

    def reconstructions(self, scales: int | None = None) -> list[Tensor]:
        """The photo at each scale [1, 3, h, w] as the generators give it back; the first `scales` of them."""
        found: list[Tensor] = []
        for scale, size in enumerate(self.sizes[:scales]):
            below = found[-1] if found else None
            found.append(self.painted(scale, self.z(scale), self.lifted(below, scale, size)))
        return found

    def enlarged(self, noise: Noise, factor: float) -> Tensor:
        """The photo [1, 3, int(factor H), int(factor W)]: enlarged a step, painted at the finest scale, and again."""
        ratio, steps = enlarging_steps(factor)
        picture = self.real
        for step in range(steps):
            picture = resize(picture, ratio)
            z = self.draw(noise, min(step, 1), (picture.shape[2], picture.shape[3]))  # one channel first, as at scale 0
            picture = self.painted(self.finest, z, self.padded(picture))
        height, width = (int(factor * side) for side in self.sizes[-1])
        return picture[..., :height, :width]

    def injected(self, noise: Noise, picture: Tensor, start_scale: int) -> Tensor:
        """`picture` [1, 3, H, W], of the photo's size, as if the coarser scales had painted it; from there on up."""
        scale, f = start_scale, self.pyramid.factor
        if scale == self.palette_scale:
            # Reduced to flat colours, it needs no blur to look like what the coarser scales paint.
            picture = _cropped(resize(picture, math.pow(f, self.finest - scale)), self.sizes[scale])
        else:
            small = _cropped(resize(picture, math.pow(f, self.finest - scale + 1)), self.sizes[scale - 1])
            picture = enlarge(small, self.pyramid, self.sizes[scale])
        previous = self.padded(self.reduced(picture, scale))
        while True:
            picture = self.painted(scale, self.draw(noise, scale, self.sizes[scale]), previous)
            if scale == self.finest:
                return picture
            scale += 1
            previous = self.lifted(picture, scale, self.sizes[scale])

    def walked(
        self,
        noise: Noise,
        frames: int,
        start_scale: int,
        alpha: float,
        beta: float,
        walk: Callable[..., Iterator[Tensor]],
        stretch: tuple[float, float] = (1.0, 1.0),
    ) -> Iterator[Tensor]:
        """`frames` pictures [3, H, W]: a walk through noise at every scale from `start_scale` on.

        A scale paints all its frames before the next begins, in the authors' order of draws. Between the scales they
        are kept in 8 bits, to which `resize` would cut them, and the finest are handed out one by one.
        """
        pictures: list[Tensor] = []
        for scale in range(len(self.sizes)):
            size = _times(self.sizes[scale], stretch)
            centre = self.z(scale) if stretch == (1.0, 1.0) else self.stretched_z(scale, size)
            steps = walk(lambda s=scale, t=size: self.draw(noise, s, t, whole=True), centre, frames, alpha, beta)
            painted = []
            for i, z in enumerate(steps):
                below = pictures[i][None] if pictures else None
                if self.network.task != "animation":
                    z = z * self.padded(torch.ones(1, 1, *size, device=self.device))
                z = centre if scale < start_scale else z
                picture = self.painted(scale, z, self.lifted(below, scale, size, 1, stretch))[0]
                if scale == self.finest:
                    yield picture
                else:
                    painted.append(cut(picture))
            pictures = painted

    def painted(self, scale: int, z: Tensor, previous: Tensor) -> Tensor:
        """What a scale makes of noise and of the picture below, both [N, 3, h + 2 margin, w + 2 margin].

        One picture after the other, so that each is to the last bit what it would be alone: cutting to 8 bits between
        the scales makes whole levels of a rounding error. And large ones in strips: the network sees no farther than
        its margin, and its batch norm uses stored statistics, so they are the same, and memory stays small.
        """
        x, m = self.amplitudes[scale] * z + previous, self.network.margin
        rows = max(1, STRIP // x.shape[3])
        pictures = []
        with torch.inference_mode():
            for i in range(len(x)):
                bands = [slice(y, y + rows + 2 * m) for y in range(0, x.shape[2] - 2 * m, rows)]
                strips = [self._strip(scale, x[i : i + 1, :, band], previous[i : i + 1, :, band]) for band in bands]
                pictures.append(torch.cat(strips, dim=2))
        return torch.cat(pictures)

    def _strip(self, scale: int, x: Tensor, previous: Tensor) -> Tensor:
        """As the scale's generator does; on a CPU by its fast form, in bf16 within `torch.autocast`.

        In fp32 they agree to about 1e-6. Where a value lies that near to a level, cutting to 8 bits between the scales
        makes a whole one of it: fewer than one value in a thousand of the finished picture, by a level or two.
        """
        G = self.Gs[scale]
        assert isinstance(G, Generator)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
        if self.device.type != "cpu" or dtype not in (torch.float32, torch.bfloat16):
            return G(x, previous)
        if (scale, dtype) not in self._fast:
            self._fast[scale, dtype] = Folded([G.blocks, G.tail], dtype)
        m = self.network.margin
        with torch.autocast("cpu", enabled=False):
            made = self._fast[scale, dtype](x).float().tanh_().add_(previous[..., m:-m, m:-m])
        return made.contiguous()

    def lifted(
        self,
        below: Tensor | None,
        scale: int,
        size: tuple[int, int],
        n: int = 1,
        stretch: tuple[float, float] = (1.0, 1.0),
    ) -> Tensor:
        """The picture of the scale below, brought to `size`, with a margin; grey (0) where there is none below."""
        if below is None:
            return self.padded(torch.zeros(n, 3, *size, device=self.device))
        m = self.network.margin
        whole = (size[0] + 2 * m, size[1] + 2 * m)
        lifted = _cropped(resize(below, 1 / self.pyramid.factor), _times(self.sizes[scale], stretch))
        lifted = _cropped(self.padded(self.reduced(lifted, scale)), whole)
        return lifted if lifted.shape[2:] == whole else _stretched(lifted, whole)

    def draw(self, noise: Noise, scale: int, size: tuple[int, int], *, whole: bool = False) -> Tensor:
        """Noise of a scale with its margin [1, 3, h + 2 margin, w + 2 margin]; `whole`: drawn in the margin too, as
        always where the model was trained so."""
        channels, m = 1 if scale == 0 else 3, self.network.margin
        if whole or self.network.task == "animation":
            z = noise(channels, size[0] + 2 * m, size[1] + 2 * m)
        else:
            z = self.padded(noise(channels, *size))
        return z.expand(-1, 3, -1, -1)

    def z(self, scale: int) -> Tensor:
        """The noise that the photo is reconstructed from: at the coarsest scale z_opt, above it none."""
        if scale == 0:
            return self.z_opt
        return self.padded(torch.zeros(1, 3, *self.sizes[scale], device=self.device))

    def stretched_z(self, scale: int, size: tuple[int, int]) -> Tensor:
        """`z` for pictures of another size; its spread, which interpolation lessens, is made up."""
        m = self.network.margin
        inner = self.z(scale)[..., m:-m, m:-m]
        stretched = _stretched(inner, size)
        return self.padded(stretched * (inner.std() / stretched.std().clamp(min=1e-6)))

    def reduced(self, picture: Tensor, scale: int) -> Tensor:
        """The input of a scale as it has learnt it: in the palette's colours where it was retrained for paintings."""
        return reduced(picture, self.palette) if scale == self.palette_scale else picture

    def padded(self, x: Tensor) -> Tensor:
        return F.pad(x, (self.network.margin,) * 4)

    def fitted(self, picture: Tensor) -> Tensor:
        """[1, 3, H, W] brought to the photo's size, as the authors' code does."""
        size = self.sizes[-1]
        return picture if picture.shape[2:] == size else _cropped(resize(picture, size=size), size)


def open_walk(draw: Callable[[], Tensor], centre: Tensor, frames: int, alpha: float, beta: float) -> Iterator[Tensor]:
    """z_t+1 = alpha z* + (1 - alpha) (z_t + beta (z_t - z_t-1) + (1 - beta) u), u drawn anew (supplement, eq. 5).

    It begins near `centre`, the z* of the photo, and its first step is from there.
    """
    last, now = centre, 0.95 * centre + 0.05 * draw()
    for _ in range(frames):
        step = beta * (now - last) + (1 - beta) * draw()
        last, now = now, alpha * centre + (1 - alpha) * (now + step)
        yield now


def closed_walk(draw: Callable[[], Tensor], centre: Tensor, frames: int, alpha: float, beta: float) -> Iterator[Tensor]:
    """The same walk where the noise u repeats after `frames` steps, once it has forgotten its beginning: a loop.

    The recurrence is linear, so the loop is found at once, in the frequencies of time; at alpha = 0, where the walk
    never forgets, the loop that stays around `centre`.
    """
    u = torch.stack([draw()[0] for _ in range(frames)])
    turn = torch.exp(-2j * math.pi * torch.arange(frames // 2 + 1, dtype=torch.float64) / frames)
    response = 1 - (1 - alpha) * (1 + beta) * turn + (1 - alpha) * beta * turn**2
    gain = torch.where(response.abs() > 1e-9, (1 - alpha) * (1 - beta) / response, 0).to(torch.complex64).to(u.device)
    for row in range(u.shape[2]):  # one at a time, for the memory's sake
        frequencies = torch.fft.rfft(u[:, :, row], dim=0) * gain[:, None, None]
        u[:, :, row] = torch.fft.irfft(frequencies, n=frames, dim=0)
    for offset in u:
        yield centre + offset[None]


def feathered(mask: Tensor, growth: int) -> Tensor:
    """A mask [1, 3, H, W] in [-1, 1], anything but black meaning "here", grown by a disk and blurred: [1, 1, H, W] in
    0..1, as the authors' code softens it.

    Raises `PinxitError` for a mask that is black all over.
    """
    # Rounded: 1 of 255 is 0.99 in floats.
    area = ((mask[:, :1] + 1) / 2).mul(255).round() > 0
    if not area.any():
        raise expected(
            "mask", "black all over", "white where the picture is to be repainted", "check that it is the mask"
        )
    reach = torch.arange(-growth, growth + 1, device=mask.device)
    disk = (reach[:, None] ** 2 + reach**2 <= growth**2).double()[None, None]
    grown = (F.conv2d(area.double(), disk, padding=growth) > 0.5).double()
    radius = int(4 * FEATHER + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=mask.device).double() / FEATHER) ** 2)
    weights /= weights.sum()
    soft = F.pad(grown, (radius,) * 4, mode="replicate")
    soft = F.conv2d(F.conv2d(soft, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1)).float()
    low, high = soft.min(), soft.max()
    return (soft - low) / (high - low) if high > low else torch.ones_like(soft)


def load(file: ModelFile, device: torch.device | str = "cpu") -> Model:
    """A model, from what `pinxit.modelfile.read` gives."""
    return Model(file, device)


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    known = {f.name for f in fields(Network)}
    extra = sorted(set(file.config) - known - {"sizes", "factor", "palette_scale"})
    if extra:
        raise expected("the model's configuration", f"with {extra[0]!r}", "options of this version", "update Pinxit")
    return Network(**{k: v for k, v in file.config.items() if k in known})


def pyramid_of(file: ModelFile) -> Pyramid:
    """The scales in a model file. Raises `PinxitError` where there are none."""
    try:
        sizes = tuple((int(height), int(width)) for height, width in file.config["sizes"])
        factor = float(file.config["factor"])
    except (KeyError, TypeError, ValueError) as error:
        raise expected("the model's scales", "missing or damaged", "sizes and factor", "train it again") from error
    return Pyramid(sizes, factor, 1.0)


def _fill(Gs: nn.ModuleList, file: ModelFile) -> None:
    state = {name.removeprefix("G."): v for name, v in file.tensors.items() if name.startswith("G.")}
    try:
        Gs.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip()
        raise expected("the model's G", f"not as its configuration ({problem})", "whole", "train it again") from error


def _picture(x: Tensor, size: tuple[int, int] | None = None) -> Image.Image:
    """[1, 3, H, W] -> PIL. The product of a rounded ratio may be a pixel off; `size` is what was asked for."""
    picture = to_image(x[0].clamp(-1, 1).float().cpu())
    if size is not None and (picture.height, picture.width) != size:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return picture


def _times(size: tuple[int, int], stretch: tuple[float, float]) -> tuple[int, int]:
    return max(1, round(size[0] * stretch[0])), max(1, round(size[1] * stretch[1]))


def _cropped(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x[..., : size[0], : size[1]]


def _stretched(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
