"""What of a value is a number, a price, a date, a product code: rules that find spans, and write them in one way.

Two catalogues write one fact in many ways ("$ 1,299.00" and "1299", "21-Oct-14" and "October 21, 2014", "KX-TG1032S"
and "kxtg1032s"); each recogniser makes one of them. All rules but that of names read lower case, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A part of a text that means something.

    Args:
        start: Where it begins, in characters.
        end: Where it ends.
        kind: What it is, such as "price".
        text: It, as all catalogues are to write it.
    """

    start: int
    end: int
    kind: str
    text: str


#: finds the spans of one text, in their order and apart from each other
Recogniser = Callable[[str], Iterator[Span]]

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"  # noqa: E501
_STREET = r"(?:st|street|ave?|avenue|blvd?|boulevard|rd|road|dr|drive|ln|lane|way|hwy|highway|pl|place|plaza|pkwy|parkway|ct|court|sq|square)"  # noqa: E501

#: how units are written, by how they are to be
UNITS: dict[str, tuple[str, ...]] = {
    "gb": ("gb", "gig", "gigs", "gigabyte", "gigabytes", "go"),
    "mb": ("mb", "meg", "megs", "megabyte", "megabytes"),
    "tb": ("tb", "terabyte", "terabytes"),
    "kb": ("kb", "kilobyte", "kilobytes"),
    "ghz": ("ghz", "gigahertz"),
    "mhz": ("mhz", "megahertz"),
    "inch": ("in", "inch", "inches", '"', "''", "”"),
    "mm": ("mm", "millimeter", "millimeters", "millimetre", "millimetres"),
    "cm": ("cm", "centimeter", "centimeters", "centimetre", "centimetres"),
    "ft": ("ft", "foot", "feet"),
    "lb": ("lb", "lbs", "pound", "pounds"),
    "oz": ("oz", "ounce", "ounces"),
    "kg": ("kg", "kgs", "kilogram", "kilograms", "kilogramme"),
    "ml": ("ml", "milliliter", "milliliters", "millilitre"),
    "l": ("l", "liter", "liters", "litre", "litres"),
    "watt": ("w", "watt", "watts"),
    "volt": ("v", "volt", "volts"),
    "mah": ("mah",),
    "rpm": ("rpm",),
    "mp": ("mp", "megapixel", "megapixels"),
    "x": ("x",),
    "pack": ("pk", "pack", "packs", "pcs", "pieces", "count", "ct"),
    "user": ("user", "users", "license", "licenses", "lic"),
    "%": ("%", "percent"),
}
_WRITTEN = {form: unit for unit, forms in UNITS.items() for form in forms}
_UNIT = "|".join(re.escape(one) for one in sorted(_WRITTEN, key=len, reverse=True))

_RULES: dict[str, re.Pattern[str]] = {
    "phone": re.compile(r"(?<!\d)(?:\+?1[-. ])?\(?(\d{3})\)?\s?[-/. ]\s?(\d{3})\s?[-. ]\s?(\d{4})(?!\d)"),
    "date": re.compile(
        rf"(?<![\w.])(?:(?P<year>\d{{4}})-(?P<month>\d{{1,2}})-(?P<day>\d{{1,2}})"
        rf"|(?P<day2>\d{{1,2}})[-\s]+(?P<name2>{_MONTH})\.?[-,\s]+(?P<year2>\d{{4}}|\d{{2}})"
        rf"|(?P<name3>{_MONTH})\.?\s+(?P<day3>\d{{1,2}})\s*,?\s+(?P<year3>\d{{4}}))(?!\w)",
        re.IGNORECASE,
    ),
    "price": re.compile(
        rf"(?:(?:us\s?)?[$€£]|\b(?:usd|eur|gbp)\b)\s*(?P<before>{_NUMBER})(?![\w])"
        rf"|(?<![\w.,])(?P<after>{_NUMBER})\s*(?:[$€£]|(?:usd|eur|gbp|dollars?|euros?)\b)",
        re.IGNORECASE,
    ),
    "unit": re.compile(rf"(?<![\w.,])(?P<number>{_NUMBER})[\s-]?(?P<unit>{_UNIT})(?![\w])", re.IGNORECASE),
    "code": re.compile(r"(?<!\w)[a-z0-9]+(?:[-/._][a-z0-9]+)*(?!\w)", re.IGNORECASE),
    "street_number": re.compile(rf"(?<![\w.])(\d{{1,6}}[a-z]?)(?=\s+(?:[\w.']+\s+){{1,4}}?{_STREET}\b)", re.IGNORECASE),
    "number": re.compile(rf"(?<![\w.,/-])({_NUMBER})(?![\w/]|-\w|[.,]\d)"),
    "name": re.compile(r"(?<![\w'’-])(?:[A-Z][\w'’-]+|[A-Z]\.)(?:\s+(?:[A-Z][\w'’-]+|[A-Z]\.)){1,3}(?!\w)"),
}

#: a product code has so many letters and digits at least
_CODE = 5


def _number(text: str) -> str:
    """Without thousands' commas, and without zeros after the point that say nothing."""
    whole, _, rest = text.replace(",", "").partition(".")
    rest = rest.rstrip("0")
    return (whole or "0") + (f".{rest}" if rest else "")


def _date(match: re.Match[str]) -> str | None:
    """As ISO 8601 writes it; none of a day that no month has."""
    said = {name.rstrip("23"): one for name, one in match.groupdict().items() if one is not None}
    month = _MONTHS.index(said["name"][:3].lower()) + 1 if "name" in said else int(said["month"])
    year, day = int(said["year"]), int(said["day"])
    if len(said["year"]) == 2:
        year += 1900 if year > 50 else 2000
    return f"{year:04}-{month:02}-{day:02}" if 1 <= month <= 12 and 1 <= day <= 31 else None


def _code(match: re.Match[str]) -> str | None:
    """Letters and digits alone; none of what is short, or a number with its unit."""
    written = re.sub(r"[-/._]", "", match[0]).lower()
    short = len(written) < _CODE or not re.search(r"\d", written) or not re.search(r"[a-z]", written)
    return None if short or re.fullmatch(rf"[\d.]+(?:{_UNIT})", written) else written


_WRITERS: dict[str, Callable[[re.Match[str]], str | None]] = {
    "phone": lambda match: "-".join(match.groups()),
    "date": _date,
    "price": lambda match: _number(match["before"] or match["after"]),
    "unit": lambda match: f"{_number(match['number'])} {_WRITTEN[match['unit'].lower()]}",
    "code": _code,
    "street_number": lambda match: match[0].lower(),
    "number": lambda match: _number(match[0]),
    "name": lambda match: " ".join(match[0].split()),
}


def _rule(name: str, pattern: re.Pattern[str], write: Callable[[re.Match[str]], str | None]) -> Recogniser:
    """What a pattern finds, but for what is written as nothing."""

    def found(text: str) -> Iterator[Span]:
        for match in pattern.finditer(text):
            if (written := write(match)) is not None:
                yield Span(match.start(), match.end(), name, written)

    return found


#: by name; what a configuration can ask for. One of your own is one more.
RECOGNISERS: dict[str, Recogniser] = {name: _rule(name, _RULES[name], _WRITERS[name]) for name in _RULES}
