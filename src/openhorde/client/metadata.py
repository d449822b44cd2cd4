# SPDX-License-Identifier: AGPL-3.0-or-later
"""Facts inside picture files: XMP for all of them, and the text other tools of the field read.

That text (prompt, negative prompt, one line of settings) is the `parameters` chunk of a PNG and
the EXIF UserComment of a JPEG or WebP, in the form AUTOMATIC1111's interface made common.
"""

import html
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from openhorde.client.riff import webp_with_chunks
from openhorde.incoming.pictures import open_picture

NAMESPACE = "urn:openhorde:generation:1:"
PIXELS_MAX = 16 * 3072 * 3072
"""What the largest upscaler makes of the largest picture that can be asked for."""
FORMATS = {".webp": "WEBP", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
EXIF_FOLDER, USER_COMMENT, DESCRIPTION, SOFTWARE = 0x8769, 0x9286, 0x010E, 0x0131
# A JPEG holds each block of facts in one segment of 64 KiB.
JPEG_TEXT_MAX = 4000
SAMPLER_NAMES = {
    "k_lms": "LMS",
    "k_heun": "Heun",
    "k_euler": "Euler",
    "k_euler_a": "Euler a",
    "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2 a",
    "k_dpm_fast": "DPM fast",
    "k_dpm_adaptive": "DPM adaptive",
    "k_dpmpp_2s_a": "DPM++ 2S a",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_sde": "DPM++ SDE",
    "lcm": "LCM",
}


def with_facts(content: bytes, suffix: str, facts: Mapping[str, Any]) -> bytes:
    """The picture in the suffix's format. A WebP keeps the very pixels the worker sent.

    Raises ValueError for another suffix, PictureRefused for what is no picture.
    """
    target = picture_format(suffix)
    opened = open_picture(content, pixels_max=PIXELS_MAX)
    image = opened.picture
    facts = {name: _clean(value) for name, value in facts.items()}
    facts |= {"width": image.width, "height": image.height}
    if target == "JPEG":
        facts = {name: _clipped(value) for name, value in facts.items()}
    xmp, exif = _xmp(facts), _exif(facts)
    if target == "WEBP" and opened.format == "WEBP" and opened.bare is not None:
        return webp_with_chunks(
            opened.bare, image.size, image.mode == "RGBA", {b"EXIF": exif, b"XMP ": xmp}
        )
    written = BytesIO()
    if target == "WEBP":
        image.save(written, target, quality=95, method=6, exact=True, exif=exif, xmp=xmp)
    elif target == "PNG":
        image.save(written, target, pnginfo=_png_text(facts, xmp))
    else:
        _flat(image).save(written, target, quality=95, exif=exif, xmp=xmp)
    return written.getvalue()


def picture_format(suffix: str) -> str:
    """The format a file suffix stands for."""
    try:
        return FORMATS[suffix.lower()]
    except KeyError:
        raise ValueError(
            f"cannot write {suffix or 'a file without a suffix'}: use {', '.join(FORMATS)}"
        ) from None


def read_facts(path: str | Path) -> dict[str, str]:
    """The facts that `with_facts` put into a file; empty for other files."""
    with Image.open(path) as image:
        image.load()
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    text = xmp.decode("utf-8") if isinstance(xmp, bytes) else str(xmp)
    found = re.findall(r'\bopenhorde:(\w+)="([^"]*)"', text)
    return {name: html.unescape(value) for name, value in found}


def parameters_text(facts: Mapping[str, Any]) -> str:
    """Prompt, negative prompt and settings as the tools of the field write and read them."""
    sampler = str(facts["sampler_name"])
    settings: dict[str, Any] = {
        "Steps": facts["steps"],
        "Sampler": SAMPLER_NAMES.get(sampler, sampler),
        "Schedule type": "Karras" if facts["karras"] else "Automatic",
        "CFG scale": facts["cfg_scale"],
        "Seed": facts["seed"],
        "Size": f"{facts['width']}x{facts['height']}",
        "Model": facts["model"],
        "Denoising strength": facts.get("denoising_strength"),
        "Clip skip": facts.get("clip_skip"),
        "Worker": facts["worker"],
        "Request": facts["request_id"],
        "Version": facts["software"],
    }
    line = ", ".join(f"{name}: {_quoted(v)}" for name, v in settings.items() if v is not None)
    negative = facts["negative_prompt"]
    lines = [facts["prompt"], f"Negative prompt: {negative}" if negative else None, line]
    return "\n".join(text for text in lines if text is not None)


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if re.search(r"[,:\n]", text) else text


def _xmp(facts: Mapping[str, Any]) -> bytes:
    attributes = "\n".join(f'openhorde:{name}="{_escaped(value)}"' for name, value in facts.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:openhorde="{NAMESPACE}"\n{attributes}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def _clean(value: Any) -> Any:
    """Lists as text, and text without the characters that XML forbids."""
    if isinstance(value, list | tuple):
        value = ", ".join(str(one) for one in value)
    if not isinstance(value, str):
        return value
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", value)


def _escaped(value: Any) -> str:
    """Text for an XML attribute; line ends as references, or readers make spaces of them."""
    return re.sub(r"[\t\n\r]", lambda found: f"&#{ord(found[0])};", html.escape(str(value)))


def _exif(facts: Mapping[str, Any]) -> bytes:
    exif = Image.Exif()
    exif[DESCRIPTION] = str(facts["prompt"])
    exif[SOFTWARE] = str(facts["software"])
    # Pillow writes big-endian EXIF, and readers expect the comment's UTF-16 in the same order.
    comment = b"UNICODE\0" + parameters_text(facts).encode("utf-16-be")
    exif.get_ifd(EXIF_FOLDER)[USER_COMMENT] = comment
    return exif.tobytes()


def _png_text(facts: Mapping[str, Any], xmp: bytes) -> PngInfo:
    text = PngInfo()
    text.add_text("parameters", parameters_text(facts))
    text.add_text("Software", str(facts["software"]))
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return text


def _flat(image: Image.Image) -> Image.Image:
    """JPEG knows no transparency: what shows through becomes white."""
    if image.mode == "RGB":
        return image
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image).convert("RGB")


def _clipped(value: Any) -> Any:
    return value[:JPEG_TEXT_MAX] if isinstance(value, str) else value
