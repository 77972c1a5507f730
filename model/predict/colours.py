"""Colours as displayed: sRGB, on white, 8 bits a channel."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from model.predict.image_errors import UnsupportedFormat
from model.predict.upright import bands

# Pillow's modes, with the colour space that an embedded profile of such an image describes.
_SPACES = (
    dict.fromkeys(("1", "L", "LA", "La"), "L")
    | dict.fromkeys(("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"), "RGB")
    | {"CMYK": "CMYK"}
)
# The most common profiles. Converting from them would change nothing.
_ALREADY_SRGB = ("sRGB IEC61966-2.1", "sRGB built-in")


def displayed_colours(image: Image.Image) -> Image.Image:
    """Return a loaded image in mode RGB, RGBA with nothing transparent, or L if it is grey.

    The given image must not be used afterwards: its pixels may have been changed in place.

    Conversions go from band to band of rows, in place where the mode allows it, so that there is no second picture.
    """
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips instead of scaling
        image = _high_bytes(image)
    if image.mode not in _SPACES:
        raise UnsupportedFormat(
            f"pixels of kind {image.mode} are not supported; "
            "use grey, palette, RGB or CMYK with 8 or 16 bits a channel"
        )
    space = _SPACES[image.mode]
    transform = _to_srgb(profile, space) if profile else None
    if transform is None and not image.has_transparency_data:
        if image.mode in ("1", "L"):
            return _converted(image, "L")
        if image.mode == "RGB":
            return image
    in_place = image.mode in ("RGB", "RGBA", "RGBX")
    target = image if in_place else Image.new("RGB", image.size, None)
    for top, bottom in bands(image):
        band = image.crop((0, top, image.width, bottom))
        target.paste(_displayed(band, space, transform), (0, top))
    return target


def _high_bytes(image: Image.Image) -> Image.Image:
    target = Image.new("L", image.size, None)
    for top, bottom in bands(image):
        band = np.asarray(image.crop((0, top, image.width, bottom)))
        target.paste(Image.fromarray((band >> 8).astype(np.uint8)), (0, top))
    return target


def _displayed(band: Image.Image, space: str, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    alpha = None
    if band.has_transparency_data:
        band = band.convert("RGBA")
        alpha = band.getchannel("A")
    band = _converted(band, space)
    rgb = ImageCms.applyTransform(band, transform) if transform else None
    rgb = rgb or _converted(band, "RGB")
    if alpha is None:
        return rgb
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white


def _to_srgb(profile: bytes, space: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of a profile, None if it is sRGB already, broken, or of another colour space."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source).strip() in _ALREADY_SRGB:
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), space, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)
