"""Heat maps over pictures, as picture arrays and on an axis, and galleries of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from PIL import Image, ImageDraw
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.foundation.pixels import to_rgb
from partcnn.networks.probing.receptive_field import upsample_map
from partcnn.plot.lettering import drawable, lettering

# Light and dark are told apart without hue; its darkest third would look like shadow on a picture and is left out.
_COLOURS = colormaps["inferno"]
_DARKEST = 0.3
_MOST_OPAQUE = 0.85
_OPACITY_POWER = 0.7  # below 1, so that weaker places are seen too


def heatmap_overlay(
    picture: Image.Image,
    heatmap: npt.ArrayLike | Tensor,
    *,
    peak: tuple[float, float] | None = None,
    full: float | None = None,
) -> Image.Image:
    """A picture with a heat map over it: the stronger, the brighter and the less transparent.

    Args:
        picture: any size and mode; `partcnn.foundation.pixels.to_rgb` is drawn.
        heatmap: [row, col], ≥ 0. Of another size than the picture it is laid evenly over it and upsampled
            bilinearly; see `upsample_map` for cells that do not lie evenly.
        peak: (x, y) in continuous pixels of the picture, marked by a ring.
        full: the value of the brightest colour; None takes the map's maximum. A map of zeros leaves the picture
            as it is, and so does nan.

    Raises:
        ShapeError: the map has other than two axes, or none of its values.
    """
    picture = to_rgb(picture)
    values = heatmap.detach().cpu() if isinstance(heatmap, Tensor) else np.array(heatmap)  # a copy: may be read-only
    strength = torch.as_tensor(values, dtype=torch.float32)
    if strength.ndim != 2 or not strength.numel():
        raise ShapeError(f"heatmap: expected [row, col], got {list(strength.shape)}")
    strength = strength.nan_to_num(nan=0.0)
    full = float(strength.amax()) if full is None else full
    strength = (strength / full).clamp(0, 1) if full > 0 else torch.zeros_like(strength)
    if strength.shape != (picture.height, picture.width):
        strength = upsample_map(strength, (picture.height, picture.width))
    shares = strength.numpy()
    colours = np.asarray(_COLOURS(_DARKEST + (1 - _DARKEST) * shares))[..., :3] * 255
    opacity = _MOST_OPAQUE * shares[..., None] ** _OPACITY_POWER
    pixels = np.asarray(picture, dtype=np.float32)
    drawn = Image.fromarray((pixels * (1 - opacity) + colours * opacity).round().astype(np.uint8))
    return drawn if peak is None else _with_ring(drawn, peak)


def heat_colours() -> npt.NDArray[np.uint8]:
    """[256, 4]: red, green, blue and opacity that `heatmap_overlay` gives to 0, 1/255, …, 1 of the full value."""
    shares = np.linspace(0, 1, 256)
    colours = np.asarray(_COLOURS(_DARKEST + (1 - _DARKEST) * shares))
    colours[:, 3] = _MOST_OPAQUE * shares**_OPACITY_POWER
    return (255 * colours).round().astype(np.uint8)


def heatmap(
    picture: Image.Image,
    feature_map: npt.ArrayLike | Tensor,
    axis: Axes,
    *,
    peak: tuple[float, float] | None = None,
    full: float | None = None,
) -> Axes:
    """`heatmap_overlay` on an axis, whose coordinates are then continuous pixels of the picture.

    Args:
        picture, feature_map, peak, full: see `heatmap_overlay`.
        axis: drawn on and returned.

    Raises:
        ShapeError: the map has other than two axes, or none of its values.
    """
    drawn = heatmap_overlay(picture, feature_map, peak=peak, full=full)
    axis.imshow(np.asarray(drawn), extent=(0, drawn.width, drawn.height, 0))
    axis.set_axis_off()
    return axis


def filter_gallery(rows: Mapping[str, Sequence[Image.Image]], axis: Axes, *, tile_px: int = 160) -> Axes:
    """Rows of pictures under each other, each row with its name: what several filters fire on.

    Args:
        rows: name → pictures, for example of `heatmap_overlay`; each is fitted into a square.
        axis: drawn on.
        tile_px: side of a square.

    Raises:
        ConfigError: there is no picture.
    """
    most = max((len(pictures) for pictures in rows.values()), default=0)
    if not most:
        raise ConfigError("rows: expected names with pictures, got none")
    sheet = Image.new("RGB", (most * tile_px, len(rows) * tile_px), "white")
    for row, pictures in enumerate(rows.values()):
        for col, picture in enumerate(pictures):
            fitted = to_rgb(picture)
            fitted.thumbnail((tile_px - 4, tile_px - 4))
            room = tile_px - fitted.width, tile_px - fitted.height
            sheet.paste(fitted, (col * tile_px + room[0] // 2, row * tile_px + room[1] // 2))
    axis.imshow(np.asarray(sheet))
    axis.set_xticks([])
    names = [drawable(name) for name in rows]
    axis.set_yticks([(row + 0.5) * tile_px for row in range(len(rows))], names, **lettering(names))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return axis


def _with_ring(picture: Image.Image, peak: tuple[float, float]) -> Image.Image:
    """A white ring with a dark seam, seen on any ground; drawn at four times the size, for smooth edges."""
    radius = max(4.0, 0.035 * max(picture.size))
    large = Image.new("L", (picture.width * 4, picture.height * 4))
    seam = large.copy()
    for layer, width in ((seam, 0.75), (large, 0.4)):
        reach = 4 * radius * (1 + (width - 0.4) / 2)
        x, y = 4 * peak[0], 4 * peak[1]
        box = (x - reach, y - reach, x + reach, y + reach)
        ImageDraw.Draw(layer).ellipse(box, outline=255, width=round(4 * radius * width))
    marked = picture.copy()
    for layer, colour in ((seam, (20, 20, 20)), (large, (255, 255, 255))):
        marked.paste(colour, mask=layer.resize(picture.size, Image.Resampling.BOX))
    return marked
