"""The fonts of the PDF: shipped with the worker, so that a bare machine typesets the same.

Noto Sans has Latin, Greek and Cyrillic, and digits of one width; FiraGO has Arabic, Hebrew, Thai,
Georgian and Devanagari; Noto Sans CJK has Chinese, Japanese and Korean; Noto Sans Symbols 2 has
symbols. Fonts that the machine has are used for what these lack, such as emoji.
"""

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from xml.sax.saxutils import escape

import noto_cjk_sans_otc  # type: ignore[import-untyped] # the package has no hints
import plutoprint
from fontTools.ttLib import (  # type: ignore[import-untyped] # the package has no hints
    TTCollection,
    TTFont,
    TTLibError,
)

from report_worker.reports.pdf.text import is_invisible

FAMILIES = '"Noto Sans", "FiraGO", "Noto Sans CJK SC", "Noto Sans Symbols2", sans-serif'

NOTO_CJK_BLOCKS = (
    range(0x3041, 0x3097),  # Hiragana
    range(0x30A1, 0x3100),  # Katakana
    range(0x4E00, 0x9FF0),  # CJK unified ideographs
    range(0xAC00, 0xD7A4),  # Hangul syllables
    range(0xFF01, 0xFFBF),  # Full-width forms
)

_SHIPPED = (
    "NotoSans_Regular",
    "NotoSans_Bold",
    "FiraGO_Regular",
    "FiraGO_Bold",
    "NotoSansSymbols2_Regular",
)
_TEXT_FONT = "NotoSans_Regular.ttf"
_SYSTEM_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
_CONFIGURATION = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
{folders}
  <cachedir>{cache}</cachedir>
</fontconfig>
"""


class Fonts:
    """The fonts that documents of this process are set in."""

    def __init__(self, files: tuple[Path, ...], text_font: Path) -> None:
        self._files = files
        self._text_font = text_font

    @cached_property
    def advances(self) -> dict[str, float]:
        """Widths of the text face's characters, in em."""
        with TTFont(self._text_font, lazy=True) as font:
            units, advances = font["head"].unitsPerEm, font["hmtx"]
            return {
                chr(point): advances[glyph][0] / units
                for point, glyph in font.getBestCmap().items()
            }

    def missing(self, characters: Iterable[str]) -> set[str]:
        """Which of the characters no font has; fonts are looked into one by one until all are."""
        remaining = {
            ord(character)
            for character in characters
            if not is_invisible(character) and not _in_noto_cjk(ord(character))
        }
        for file in self._files:
            remaining -= _covered(file)
            if not remaining:
                break
        return {chr(point) for point in remaining}


@cache
def install_fonts() -> Fonts:
    """Put the shipped fonts where the typesetter finds them; once per process."""
    folder = _private_folder()
    for name in _SHIPPED:
        _write_once(folder / f"{name}.ttf", import_module(f"pymupdf_fonts.{name}").fontbuffer)
    noto_cjk = Path(str(noto_cjk_sans_otc.FONT_PATH))
    folders = "\n".join(
        f"  <dir>{escape(str(path))}</dir>" for path in (folder, noto_cjk.parent, *_SYSTEM_FOLDERS)
    )
    configuration = _CONFIGURATION.format(folders=folders, cache=escape(str(folder / "cache")))
    _write_once(folder / "fonts.conf", configuration.encode())
    plutoprint.plutobook_set_fontconfig_path(folder)
    shipped = (*(folder / f"{name}.ttf" for name in _SHIPPED), noto_cjk)
    return Fonts((*shipped, *_system_fonts()), folder / _TEXT_FONT)


def _private_folder() -> Path:
    """A folder that later processes of this user find again and nobody else can write to."""
    folder = Path(tempfile.gettempdir()) / f"report-worker-fonts-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
    if status.st_uid != os.getuid() or not is_private:
        return Path(tempfile.mkdtemp(prefix="report-worker-fonts-"))
    return folder


def _write_once(file: Path, content: bytes) -> None:
    """Write whole or not at all: another process may be reading or writing the same."""
    if file.exists() and file.read_bytes() == content:
        return
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as draft:
        draft.write(content)
    Path(draft.name).rename(file)


def _system_fonts() -> Iterator[Path]:
    for folder in _SYSTEM_FOLDERS:
        yield from sorted(
            file for file in folder.rglob("*") if file.suffix.lower() in {".ttf", ".otf", ".ttc"}
        )


def _in_noto_cjk(point: int) -> bool:
    """Whether Noto Sans CJK surely has it: looking into so large a font costs 40 MB."""
    return any(point in block for block in NOTO_CJK_BLOCKS)


@cache
def _covered(file: Path) -> frozenset[int]:
    """The code points that a font file has glyphs for; none when it can't be read."""
    try:
        with file.open("rb") as stream:
            fonts = (
                TTCollection(stream, lazy=True).fonts
                if file.suffix.lower() == ".ttc"
                else [TTFont(stream, lazy=True)]
            )
            return frozenset(fonts[0].getBestCmap() or ())
    except (OSError, TTLibError):
        return frozenset()
