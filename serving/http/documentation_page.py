"""An OpenAPI document as a page to read: one file without programs, that asks nobody for anything."""

from __future__ import annotations

import json
import shlex
from html import escape
from http import HTTPStatus
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --quiet: #777; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 16px/1.45 system-ui, sans-serif;
  overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .5rem; border-top: 1px solid var(--line); padding-top: 1.5rem; font-size: 1.15rem; }
h3 { margin: 1.25rem 0 .25rem; font-size: 1rem; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--line); padding: .3rem .75rem .3rem 0; vertical-align: top; }
pre { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem; overflow-x: auto; margin: .4rem 0; }
code, pre { font: .875rem/1.4 ui-monospace, monospace; }
h2 code { font-size: 1.1rem; font-weight: 600; }
.quiet { color: var(--quiet); }
"""


def page_of(document: dict[str, Any], address: str) -> str:
    """The page.

    Args:
        document: By OpenAPI 3.1.
        address: Of the service, as whoever reads the page has it.
    """
    info, shapes = document["info"], document.get("components", {}).get("schemas", {})
    routes = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    routes.sort(key=lambda one: one[2].get("tags") == ["operation"])  # what users of it read first, comes first
    index = "".join(f'<li><a href="#{_anchor(m, p)}"><code>{m} {escape(p)}</code></a>{_marks(o)}' for m, p, o in routes)
    title = escape(info["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><style>{_STYLE}</style>'
        f'</head><body><h1>{title} <span class="quiet">{escape(info["version"])}</span></h1>'
        f"<p>{escape(info.get('description', ''))}</p>"
        '<p>For programs: <a href="openapi.json">openapi.json</a>. Routes that are marked <em>token</em> need the '
        "header <code>authorization: Bearer …</code> with the token that the service was started with.</p>"
        f"<ul>{index}</ul>"
        + "".join(_route(*one, shapes, address) for one in routes)
        + "".join(_shape(name, one) for name, one in shapes.items() if "properties" in one)
        + "</body></html>"
    )


def _route(method: str, path: str, operation: dict[str, Any], shapes: dict[str, Any], address: str) -> str:
    body = _of_json(operation.get("requestBody", {}))
    name = next(iter(_names(body)), None)
    examples = shapes[name].get("examples", []) if name else []
    parts = [
        f'<h2 id="{_anchor(method, path)}"><code>{method} {escape(path)}</code>{_marks(operation)}</h2>',
        f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>",
        *(f"<pre>{escape(_curl(method, address + path, operation, one))}</pre>" for one in examples or [None]),
    ]
    if body:
        parts.append(f"<h3>Takes {_kind(body)}</h3>{_fields(shapes[name]) if name else ''}")
    for status, told in operation["responses"].items():
        gives = _of_json(told)
        # what FastAPI says of every answer says nothing
        words = told["description"] if told["description"] != "Successful Response" else HTTPStatus(int(status)).phrase
        parts.append(f"<p><code>{escape(status)}</code> {escape(words)}{f' → {_kind(gives)}' if gives else ''}</p>")
    return "".join(parts)


def _shape(name: str, shape: dict[str, Any]) -> str:
    return f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{escape(shape.get("description", ""))}</p>{_fields(shape)}'


def _fields(shape: dict[str, Any]) -> str:
    needed = shape.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{'' if name in needed else ' <span class=quiet>optional</span>'}<td>"
        f"{_kind(field)}{_default(field)}<td>{escape(field.get('description', ''))}"
        for name, field in shape.get("properties", {}).items()
    )
    return f"<table>{rows}</table>"


def _kind(field: dict[str, Any]) -> str:
    """What a value is, in words and links."""
    if "$ref" in field:
        name = escape(field["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if several := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_kind, several)))
    if values := field.get("enum") or ([field["const"]] if "const" in field else []):
        return " or ".join(f"<code>{escape(json.dumps(one))}</code>" for one in values)
    if field.get("type") == "array":
        return f"list of ({_kind(field.get('items', {}))})" + _bounds(field, "Items")
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"object of ({_kind(inner)})" if isinstance(inner, dict) else "object"
    return escape(field.get("type", "anything")) + _bounds(field, "Length")


def _bounds(field: dict[str, Any], size: str) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum", field.get(f"min{size}")))
    high = field.get("maximum", field.get("exclusiveMaximum", field.get(f"max{size}")))
    if low is None and high is None:
        return ""
    between = f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
    return f' <span class="quiet">{between}</span>'


def _default(field: dict[str, Any]) -> str:
    return f" = <code>{escape(json.dumps(field['default']))}</code>" if field.get("default") is not None else ""


def _curl(method: str, url: str, operation: dict[str, Any], body: Any) -> str:
    parts = ["curl -s", *([] if method == "GET" else [f"-X {method}"]), shlex.quote(url)]
    if operation.get("security"):
        parts.append('-H "authorization: Bearer $RECSYS_TOKEN"')
    if body is not None:
        parts.append(
            f"-H 'content-type: application/json' \\\n  -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
        )
    return " ".join(parts)


def _of_json(told: dict[str, Any]) -> dict[str, Any]:
    return told.get("content", {}).get("application/json", {}).get("schema", {})


def _names(schema: dict[str, Any]) -> list[str]:
    """The shapes that a schema names."""
    parts = schema.get("anyOf", [schema])
    return [one["$ref"].rpartition("/")[2] for one in parts if "$ref" in one]


def _marks(operation: dict[str, Any]) -> str:
    return " <em>token</em>" if operation.get("security") else ""


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}")
