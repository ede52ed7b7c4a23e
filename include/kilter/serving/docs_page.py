"""An OpenAPI document as one HTML page that needs nothing else: no script, no style sheet, no other host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
summary {{ cursor: pointer; padding: .4rem .6rem; background: #f2f4f7; margin-top: .4rem; border-radius: 4px; }}
pre {{ background: #f8f8f8; border: 1px solid #ddd; padding: .6rem; overflow: auto; font-size: 13px; }}
b {{ display: inline-block; min-width: 3.5rem; }}
</style>
<h1>{title} {version}</h1>
<p>{description} The same for machines: <a href="openapi.json">openapi.json</a>.</p>
<h2>What can be asked</h2>
{operations}
<h2>Schemas</h2>
{schemas}
</html>
"""
_OPERATION = """\
<details><summary><b>{method}</b> <code>{path}</code> {summary}</summary>
{request}<ul>{answers}</ul>
</details>
"""
_SCHEMA = """\
<details id="{name}"><summary><code>{name}</code></summary><pre>{schema}</pre></details>
"""


def page(document: Mapping[str, Any]) -> bytes:
    """The page of a document that `kilter.serving.openapi` made."""
    operations = (
        _operation(path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    )
    schemas = (
        _SCHEMA.format(name=escape(name), schema=_pretty(schema))
        for name, schema in document["components"]["schemas"].items()
    )
    info = {key: escape(value) for key, value in document["info"].items()}
    return _PAGE.format(**info, operations="".join(operations), schemas="".join(schemas)).encode()


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    answers = "".join(
        f"<li>{code}: {escape(answer['description'])}</li>" for code, answer in operation["responses"].items()
    )
    return _OPERATION.format(
        method=method.upper(),
        path=escape(path),
        summary=escape(operation["summary"]),
        request=_request(operation["requestBody"]) if "requestBody" in operation else "",
        answers=answers,
    )


def _request(body: Mapping[str, Any]) -> str:
    content = body["content"]["application/json"]
    name = escape(content["schema"]["$ref"].rpartition("/")[2])
    return f'<p>A <a href="#{name}">{name}</a>, such as</p><pre>{_pretty(content["example"])}</pre>'


def _pretty(value: Any) -> str:
    return escape(json.dumps(value, indent=2, ensure_ascii=False))
