"""Random training crops.

Every picture is held in memory as uint8 canvases at several field-of-view widths. A crop is one affine ``grid_sample``
(rotation, flips, scale, slight stretch) from the level that is just fine enough, so that enlarged crops are not mere
interpolation and shrunk ones do not alias. The scale is drawn by the picture's own vessels: their mean width, known
from the label, covers one range whatever the camera, its angle or the age of the eye, so pictures of wide vessels are
mostly shrunk and those of narrow ones mostly enlarged. Some crops keep about the canvas's own scale.

Colour is changed before the normalisation that the product does (gamma, with the picture's mean and deviation
recomputed from its histogram) and after it (channel mixing, gain, offset, illumination). Then the crop goes through
another camera: softer optics (blur of many widths), a coarser sensor (shrunk and enlarged again), sharpening, noise.
Label borders move a little, since no two observers draw them alike.

Lengths in pixels are those of a field of view of 768 px; they grow with ``fov_px``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .border import border_term
from .canvas import canvas_mask, to_canvas
from .data import VESSEL, Picture, class_planes
from .measures import skeleton_length

LEVEL_FACTORS = (1 / 3, 2 / 3, 1.0, 1.5, 2.25, 3.0)
"""Field-of-view widths of the levels, as factors of the canonical one; those finer than the picture are left out."""

REFERENCE_FOV_PX = 768.0
_LEVEL_MARGIN_PX = 32


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the augmentation. Pairs are uniform, or log-uniform where the name says factor."""

    crop_px: int = 256
    fov_px: float = 768.0
    vessel_px: tuple[float, float] = (1.8, 6.6)
    """Mean vessel width that a crop's scale is drawn for, log-uniform."""
    native_share: float = 0.25
    """Crops at about the canvas's own scale instead (``scale_factor``), the plain ones not counted."""
    scale_factor: tuple[float, float] = (0.8, 1.25)
    stretch_factor: tuple[float, float] = (0.93, 1.07)
    gamma_factor: tuple[float, float] = (0.65, 1.5)
    gamma_share: float = 0.6
    contrast_factor: tuple[float, float] = (0.65, 1.45)
    channel_gain_factor: tuple[float, float] = (0.8, 1.25)
    offset: float = 0.3
    illumination: float = 0.5
    mixing: float = 0.15
    mixing_share: float = 0.3
    blur_sigma_px: tuple[float, float] = (0.3, 2.2)
    blur_share: float = 0.4
    sensor_fov_px: tuple[float, float] = (400.0, 768.0)
    sensor_share: float = 0.35
    sharpen: tuple[float, float] = (0.2, 1.2)
    sharpen_share: float = 0.25
    noise: float = 0.15
    grey_share: float = 0.05
    label_shift: float = 0.15
    label_share: float = 0.3
    plain_share: float = 0.2
    """Crops that stay as the camera gave them, turned and flipped only: every camera that is trained on is also seen
    as it is, and how its observer draws can be learnt."""

    @property
    def unit(self) -> float:
        """Pixels of this canvas for a pixel of the reference canvas."""
        return self.fov_px / REFERENCE_FOV_PX


@dataclass
class Level:
    """A picture at one width: uint8 tensor [3 + C + 2, S, S].

    RGB, class planes (0..255), the border term of the weight map (0..255, see ``border.py``), FOV mask (0 or 255).
    """

    fov_px: int
    planes: torch.Tensor


@dataclass
class Prepared:
    """A training picture ready to be cropped."""

    key: str
    dataset: str
    levels: list[Level]
    histogram: torch.Tensor  # [3, 256] counts inside the field of view
    vessel_px: float  # mean vessel width on the canonical canvas by the label; 0 where it shows no vessel

    def statistics(self, gamma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation per channel inside the FOV after ``255·(v/255)**gamma``."""
        values = 255.0 * (torch.arange(256, dtype=torch.float64)[None] / 255.0) ** gamma.double()[:, None]
        share = self.histogram / self.histogram.sum(dim=1, keepdim=True)
        mean = (share * values).sum(dim=1)
        var = (share * (values - mean[:, None]) ** 2).sum(dim=1)
        return mean.float(), var.sqrt().clamp(min=1.0).float()


def level_widths(fov_px: float, native_px: float = math.inf) -> tuple[int, ...]:
    """Field-of-view widths of the levels, pixels, for a canonical width and the width in the picture itself."""
    return tuple(round(fov_px * f) for f in LEVEL_FACTORS if f <= 1 or fov_px * f <= 1.1 * native_px)


def prepare(
    key: str,
    dataset: str,
    picture: Picture,
    classes: Sequence[str],
    fov_px: float = REFERENCE_FOV_PX,
    border_sigma_px: float = 0.0,
) -> Prepared:
    """Resamples a picture and its soft labels to every level of a canonical width.

    ``border_sigma_px`` is the σ of the border term on the canonical canvas; 0 leaves it out.
    """
    target = class_planes(picture.labels, classes).transpose(1, 2, 0) * 255.0
    stacked = np.concatenate([picture.rgb.astype(np.float32), target], axis=2)
    levels = []
    histogram, vessel_px = None, 0.0
    for width in level_widths(fov_px, 2 * picture.geometry.radius):
        size = width + _LEVEL_MARGIN_PX
        canvas = to_canvas(stacked, picture.geometry, width, size)
        mask = canvas_mask(picture.geometry, width, size)
        border = np.zeros(mask.shape, dtype=np.float32)
        if border_sigma_px > 0:
            border = border_term(canvas[:, :, 4:].max(axis=2) > 127.5, border_sigma_px * width / fov_px)
        if width == round(fov_px) and VESSEL in classes:
            vessel_px = mean_vessel_width(canvas[:, :, 3 + classes.index(VESSEL)] > 127.5)
        extra = np.stack([border * 255.0, mask * 255.0], axis=2)
        planes = np.concatenate([canvas, extra], axis=2).round().clip(0, 255).astype(np.uint8)
        levels.append(Level(width, torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1)))))
        inside = planes[mask][:, :3]
        histogram = np.stack([np.bincount(inside[:, c], minlength=256) for c in range(3)])
    return Prepared(key, dataset, levels, torch.from_numpy(histogram).double(), vessel_px)


def mean_vessel_width(mask: np.ndarray) -> float:
    """Area of a mask by the length of its skeleton, pixels; 0 where it has none."""
    length = skeleton_length(mask)
    return float(mask.sum()) / length if length > 0 else 0.0


class Sampler:
    """Draws augmented batches; its whole state is one ``torch.Generator``, so a run resumes exactly."""

    def __init__(self, pictures: Sequence[Prepared], config: AugmentConfig, generator: torch.Generator) -> None:
        if not pictures:
            raise ValueError("no pictures to train on")
        self.config = config
        self.generator = generator
        # Every data set is drawn equally often, however many pictures it has.
        self.groups = [[p for p in pictures if p.dataset == d] for d in sorted({p.dataset for p in pictures})]

    def batch(self, size: int) -> tuple[torch.Tensor, ...]:
        """Images [N, 3, s, s], soft class targets [N, C, s, s], FOV weights and border terms [N, 1, s, s]."""
        crops = [self._crop() for _ in range(size)]
        return tuple(torch.stack(part) for part in zip(*crops, strict=True))

    def _uniform(self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator) * (high - low) + low

    def _factor(self, span: tuple[float, float], shape: tuple[int, ...] = ()) -> torch.Tensor:
        return torch.exp(self._uniform(math.log(span[0]), math.log(span[1]), shape))

    def _chance(self, share: float) -> bool:
        return float(self._uniform()) < share

    def _index(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.generator))

    def _crop(self) -> tuple[torch.Tensor, ...]:
        group = self.groups[self._index(len(self.groups))]
        picture = group[self._index(len(group))]
        plain = self._chance(self.config.plain_share)
        planes = self._affine(picture, 1.0 if plain else self.scale(picture))
        fov = (planes[-1:] > 127.5).float()
        target, border = planes[3:-2] / 255.0, planes[-2:-1] / 255.0
        if plain:
            mean, std = picture.statistics(torch.ones(3))
            return (planes[:3] - mean[:, None, None]) / std[:, None, None] * fov, target, fov, border
        if self._chance(self.config.label_share):
            target = self._redraw(target)
        return self._camera(self._colour(planes[:3], picture, fov)) * fov, target, fov, border

    def scale(self, picture: Prepared) -> float:
        """Canvas pixels of the crop for one of the canonical canvas."""
        c = self.config
        if picture.vessel_px == 0 or self._chance(c.native_share):
            return float(self._factor(c.scale_factor))
        return float(self._factor(c.vessel_px)) * c.unit / picture.vessel_px

    def _redraw(self, target: torch.Tensor) -> torch.Tensor:
        """Another observer's labels: every structure a little wider or narrower; class 0 takes the rest."""
        shift = float(self._uniform(-self.config.label_shift, self.config.label_shift))
        soft = gaussian_blur(target[1:], 0.7 * self.config.unit)
        drawn = ((soft - 0.5 + shift) * 2.0 + 0.5).clamp(0, 1)
        return torch.cat([(1 - drawn.sum(dim=0, keepdim=True)).clamp(0, 1), drawn])

    def _affine(self, picture: Prepared, scale: float) -> torch.Tensor:
        c = self.config
        wanted = c.fov_px * scale
        level = next((lv for lv in picture.levels if lv.fov_px >= 0.98 * wanted), picture.levels[-1])
        zoom = level.fov_px / wanted  # level pixels per crop pixel

        angle = float(self._uniform(0, 2 * math.pi))
        stretch = float(self._factor(c.stretch_factor))
        flip = -1.0 if self._chance(0.5) else 1.0
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = torch.tensor([[cos * stretch * flip, -sin / stretch], [sin * stretch * flip, cos / stretch]]) * zoom

        size = level.planes.shape[-1]
        centre = self._centre(level)

        offset = torch.arange(c.crop_px, dtype=torch.float32) + 0.5 - c.crop_px / 2
        grid_y, grid_x = torch.meshgrid(offset, offset, indexing="ij")
        position = torch.stack([grid_x, grid_y], dim=-1) @ matrix.T + centre

        # Only the crop's bounding box is converted to float; outside it nothing is read.
        low = (position.amin(dim=(0, 1)).floor().long() - 1).clamp(0, size - 2)
        high = (position.amax(dim=(0, 1)).ceil().long() + 2).clamp(2, size)
        low = torch.minimum(low, high - 2)
        box = level.planes[:, low[1] : high[1], low[0] : high[0]].float()
        extent = torch.tensor([box.shape[2], box.shape[1]], dtype=torch.float32)
        grid = 2 * (position - low) / extent - 1
        return F.grid_sample(box[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]

    def _centre(self, level: Level) -> torch.Tensor:
        """A crop centre, uniform in the disc a little inside its border, and inside the cuts."""
        size = level.planes.shape[-1]
        for _ in range(20):  # a field of view that fills less than 1/5 of its own circle does not occur
            distance = 0.88 * level.fov_px / 2 * math.sqrt(float(self._uniform()))
            direction = float(self._uniform(0, 2 * math.pi))
            x, y = size / 2 + distance * math.cos(direction), size / 2 + distance * math.sin(direction)
            if level.planes[-1, int(y), int(x)] > 0:
                return torch.tensor([x, y])
        return torch.tensor([size / 2, size / 2])

    def _colour(self, rgb: torch.Tensor, picture: Prepared, fov: torch.Tensor) -> torch.Tensor:
        c = self.config
        gamma = torch.ones(3)
        if self._chance(c.gamma_share):
            gamma = self._factor(c.gamma_factor) * self._factor((0.85, 1.18), (3,))
        mean, std = picture.statistics(gamma)
        x = 255.0 * (rgb.clamp(0, 255) / 255.0) ** gamma[:, None, None]
        x = (x - mean[:, None, None]) / std[:, None, None]
        if self._chance(c.grey_share):
            x = x[1:2].expand(3, -1, -1).clone()

        if self._chance(c.mixing_share):
            x = torch.einsum("ij,jhw->ihw", torch.eye(3) + self._uniform(-c.mixing, c.mixing, (3, 3)), x)
        gain = self._factor(c.contrast_factor) * self._factor(c.channel_gain_factor, (3, 1, 1))
        offset = self._uniform(-c.offset, c.offset, (3, 1, 1))
        x = x * gain + offset
        return x * torch.exp(0.5 * c.illumination * self._lowpass(1)) + c.illumination * self._lowpass(3)

    def _camera(self, x: torch.Tensor) -> torch.Tensor:
        c = self.config
        if self._chance(c.blur_share):
            x = gaussian_blur(x, c.unit * float(self._uniform(*c.blur_sigma_px)))
        if self._chance(c.sensor_share):
            x = self._sensor(x)
        if self._chance(c.sharpen_share):
            x = x + self._uniform(*c.sharpen) * (x - gaussian_blur(x, c.unit * float(self._uniform(0.7, 2.0))))
        return x + self._grain(x.shape)

    def _sensor(self, x: torch.Tensor) -> torch.Tensor:
        """A picture with fewer pixels, its own grain, brought to the canvas as the product does it."""
        c = self.config
        size = max(16, round(x.shape[-1] * float(self._factor(c.sensor_fov_px)) / c.fov_px))
        small = F.interpolate(x[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]
        small = small + self._grain(small.shape)
        return F.interpolate(small[None], size=x.shape[-2:], mode="bilinear", align_corners=False)[0]

    def _grain(self, shape: torch.Size) -> torch.Tensor:
        noise = float(self._uniform(0, self.config.noise))
        grain = torch.randn(shape, generator=self.generator)
        if self._chance(0.5):
            grain = 2.0 * gaussian_blur(grain, 0.8)  # compressed and demosaiced pictures have coarse grain
        return noise * grain

    def _lowpass(self, channels: int) -> torch.Tensor:
        coarse = torch.randn((1, channels, 4, 4), generator=self.generator) * self._uniform()
        if channels == 3:  # light changes all channels mostly alike
            coarse = 0.7 * coarse.mean(dim=1, keepdim=True) * math.sqrt(3) + 0.5 * coarse
        crop = self.config.crop_px
        return F.interpolate(coarse, size=(crop, crop), mode="bicubic", align_corners=False)[0] * 0.6


def gaussian_blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Separable Gaussian blur of [C, H, W], border replicated."""
    radius = max(1, math.ceil(2.5 * sigma))
    position = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (position / sigma) ** 2)
    kernel = kernel / kernel.sum()
    y = F.pad(x[:, None], (radius,) * 4, mode="replicate")
    y = F.conv2d(y, kernel.view(1, 1, 1, -1))
    return F.conv2d(y, kernel.view(1, 1, -1, 1))[:, 0]
