"""Labels for the boxes, A4, three by eight: the kit's name in print, and a code to scan that enrols it by hand.

A label is a secret until its claim is used: print it, attach it, and delete the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import segno
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from provisioning.image.plan import Plan

COLUMNS, ROWS = 3, 8
WIDE, HIGH = 70 * mm, 37.125 * mm
CODE = 31 * mm
MARGIN = 3 * mm


def labels(plans: Sequence[Plan]) -> bytes:
    """A PDF with one label per kit, in order."""
    out = BytesIO()
    page = Canvas(out, pagesize=A4, invariant=1)
    page.setTitle("Homeside kits")
    for number, plan in enumerate(plans):
        at = number % (COLUMNS * ROWS)
        if number and at == 0:
            page.showPage()
        column, row = at % COLUMNS, at // COLUMNS
        _label(page, plan, column * WIDE, A4[1] - (row + 1) * HIGH)
    page.save()
    return out.getvalue()


def _label(page: Any, plan: Plan, left: float, bottom: float) -> None:
    side = _code(page, plan.link, left + MARGIN, bottom + (HIGH - CODE) / 2)
    text = left + MARGIN + side + 2 * mm
    room = left + WIDE - text - 2 * mm
    _line(page, plan.kit, text, bottom + HIGH - 9 * mm, "Helvetica-Bold", 13, room)
    _line(page, "Homeside kit", text, bottom + HIGH - 14 * mm, "Helvetica", 7.5, room)
    for at, part in enumerate(_parts(plan.claim)):
        _line(page, part, text, bottom + 14 * mm - at * 3.6 * mm, "Courier-Bold", 9, room)
    _line(page, plan.relay.removeprefix("https://"), text, bottom + 4 * mm, "Helvetica", 6.5, room)


def _code(page: Any, link: str, left: float, bottom: float) -> float:
    """Draw the QR code as vectors with a quiet zone of four modules (ISO/IEC 18004); returns the length of its side."""
    matrix = segno.make_qr(link, error="m").matrix
    module = CODE / (len(matrix) + 8)
    page.setFillGray(0)
    for y, line in enumerate(matrix):
        for x, dark in enumerate(line):
            if dark:
                across, up = left + (x + 4) * module, bottom + CODE - (y + 5) * module
                page.rect(across, up, module * 1.02, module * 1.02, stroke=0, fill=1)
    return float(CODE)


def _parts(claim: str) -> list[str]:
    """A code in lines that can be read aloud."""
    plain = claim.replace("-", "")
    fours = [plain[at : at + 5] for at in range(0, len(plain), 5)]
    return ["-".join(fours[at : at + 2]) for at in range(0, len(fours), 2)][:3]


def _line(page: Any, text: str, left: float, bottom: float, font: str, size: float, room: float) -> None:
    """Draw text in the given size, or smaller if it does not fit."""
    while size > 4 and page.stringWidth(text, font, size) > room:
        size -= 0.5
    page.setFont(font, size)
    page.drawString(left, bottom, text)
