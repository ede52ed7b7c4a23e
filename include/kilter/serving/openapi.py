"""What can be asked of a model server, as an OpenAPI 3.1 document made from the models that it holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import kilter
from kilter.encoding import Signature
from kilter.serving import open_inference
from kilter.serving.models import LoadedModel
from kilter.spec import Feature

Json = dict[str, Any]

_REFUSALS = {
    400: "the body is malformed; `error` says which field",
    404: "no such model or version",
    405: "another method is allowed here",
    413: "the body is too large",
    415: "the content type is not application/json in UTF-8",
    422: "what the request left out is not online, or too old; `error` says of which row",
    503: "no version of the model is loaded, the server is about to end, or the online store does not answer",
}
_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_OPTIONS: Json = {"type": "object", "description": "accepted, and changes nothing"}
_ID_PARAMETER: Json = {
    "name": "x-request-id",
    "in": "header",
    "schema": _TEXT,
    "description": "kept for the answer and the log where it is 1 to 64 letters, digits, dots, dashes or underscores",
}
_HEADERS: Json = {
    "x-request-id": {"description": "the client's own, or a new one", "required": True, "schema": _TEXT},
    "x-model-version": {"description": "the version that answered, where a model was asked", "schema": _TEXT},
}


def document(models: Iterable[LoadedModel]) -> Json:
    """The OpenAPI document of these models; paths and schemas hold their names, versions, features and categories."""
    models = list(models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kilter model server",
            "version": kilter.__version__,
            "description": "MLflow's scoring protocol and the Open Inference Protocol. A missing value is null.",
        },
        "paths": _server_paths() | {path: item for model in models for path, item in _model_paths(model).items()},
        "components": {
            "schemas": {"Error": _error(), "Inference": _inference()}
            | {name: schema for model in models for name, schema in _model_schemas(model).items()}
        },
    }


def _server_paths() -> Json:
    up = _fields(status={"const": "up"})
    version = _fields(version=_TEXT)
    return {
        "/ping": _get("The process answers", up),
        "/version": _get("The version of Kilter", version),
        "/v2": _get("Name and version of this server", _fields(name=_TEXT, version=_TEXT, extensions=_list(_TEXT))),
        "/v2/health/live": _get("The process answers", _fields(live={"const": True})),
        "/v2/health/ready": _get("A version of some model answers", _fields(ready={"const": True}), 503),
    }


def _model_paths(model: LoadedModel) -> Json:
    name = model.deployment.model
    ready = _fields(model={"const": name}, version=_COUNT, digest=_TEXT, predictor=_TEXT)
    # Only while another version is desired than the one that answers.
    ready["properties"]["problem"] = _TEXT
    refusals = (400, 404, 413, 415, *((422,) if model.optional else ()), 503)
    base = f"/models/{name}"
    versions = (f"/v2/models/{name}", f"/v2/models/{name}/versions/{model.deployment.version}")
    paths = {
        f"{base}/invocations": _post(
            "Score rows, in MLflow's protocol",
            f"{name}.Invocation",
            _predictions(name),
            _record_example(model.signature),
            refusals,
        ),
        f"{base}/ready": _get("Which version answers", ready, 404, 503),
        f"{base}/answers": _answers(),
        f"{base}/ping": _get("A version answers", _fields(status={"const": "up"}), 404, 503),
        f"{base}/version": _get("The version of Kilter", _fields(version=_TEXT), 404, 503),
    }
    for path in versions:
        paths[path] = _get("Inputs and outputs of the model", _metadata(), 404, 503)
        paths[f"{path}/ready"] = _get(
            "A version answers", _fields(name={"const": name}, ready={"const": True}), 404, 503
        )
        paths[f"{path}/infer"] = _post(
            "Score rows, in the Open Inference Protocol",
            f"{name}.Inputs",
            {"$ref": "#/components/schemas/Inference"},
            _tensor_example(model.signature),
            refusals,
        )
    return paths


def _answers() -> Json:
    pair = _list({"type": "number"}) | {"minItems": 2, "maxItems": 2}
    path = _get(
        "The newest answers: seconds, and the score of the first row as one number; not through HAProxy",
        _fields(digest=_TEXT, requests=_COUNT, answers=_list(pair)),
        *(400, 404, 503),
    )
    known = {"name": "after", "in": "query", "required": True, "schema": _COUNT, "description": "answers known already"}
    path["get"]["parameters"] = [known, _ID_PARAMETER]
    return path


def _get(summary: str, answer: Json, *refusals: int) -> Json:
    return {"get": {"summary": summary, "parameters": [_ID_PARAMETER], "responses": _responses(answer, *refusals)}}


def _post(summary: str, body: str, answer: Json, example: Json, refusals: Sequence[int]) -> Json:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}, "example": example}}
    return {
        "post": {
            "summary": summary,
            "parameters": [_ID_PARAMETER],
            "requestBody": {"required": True, "content": content},
            "responses": _responses(answer, *refusals),
        }
    }


def _responses(answer: Json, *refusals: int) -> Json:
    error = {"$ref": "#/components/schemas/Error"}
    told = {"200": ("answered", answer)} | {str(code): (_REFUSALS[code], error) for code in (*refusals, 405)}
    return {
        code: {"description": words, "headers": _HEADERS, "content": {"application/json": {"schema": schema}}}
        for code, (words, schema) in told.items()
    }


def _model_schemas(model: LoadedModel) -> Json:
    name, signature = model.deployment.model, model.signature
    return {
        f"{name}.Row": _row(signature, model.optional),
        f"{name}.Invocation": _invocation(signature, model.optional, f"#/components/schemas/{name}.Row"),
        f"{name}.Inputs": _inputs(signature, model.optional),
        f"{name}.Score": _score(signature),
    }


def _row(signature: Signature, optional: Sequence[str]) -> Json:
    features: Json = {feature.name: _value(feature) for feature in signature.features}
    for name in optional:
        told = [features[name].get("description"), f"looked up by {signature.entity} where it is left out"]
        features[name] = features[name] | {"description": "; ".join(filter(None, told))}
    keys: Json = {
        signature.entity: {"type": ["string", "integer", "null"], "description": "identifies the row in the log"},
        signature.timestamp: {
            "type": "string",
            "format": "date-time",
            "description": "the row's event time, with its offset; without it the time of the request",
        },
    }
    row = _closed(features | keys, _carried(signature, optional))
    if optional:
        entity = {"required": [signature.entity], "properties": {signature.entity: {"type": ["string", "integer"]}}}
        row["anyOf"] = [{"required": list(optional)}, entity]
    return row


def _carried(signature: Signature, optional: Sequence[str]) -> list[str]:
    """The features that every request carries."""
    return [name for name in signature.names if name not in optional]


def _value(feature: Feature) -> Json:
    """What a feature takes."""
    if feature.categories:
        other = {"type": ["string", "null"], "description": "any other text counts as missing"}
        return {"anyOf": [{"enum": list(feature.categories)}, other]}
    return {"type": ["number", "boolean", "null"], "description": "finite as a float32; a boolean counts as 0 or 1"}


def _invocation(signature: Signature, optional: Sequence[str], row: str) -> Json:
    """One of MLflow's three forms. The rows of one request all have the same columns."""
    carried = _carried(signature, optional)
    in_order = {
        "type": "array",
        "prefixItems": [_value(feature) for feature in signature.features],
        "minItems": len(signature.names),
        "maxItems": len(signature.names),
        "description": f"values in this order: {', '.join(signature.names)}",
    }
    split = _closed(
        {
            "columns": {
                "type": "array",
                "items": {"enum": [*signature.names, signature.entity, signature.timestamp]},
                "minItems": len(carried) or 1,
                "uniqueItems": True,
                "description": f"in any order; at least: {', '.join(carried) or signature.entity}",
            },
            "data": {"type": "array", "minItems": 1, "items": {"type": "array", "minItems": len(carried) or 1}},
            "index": {"type": ["array", "null"], "description": "accepted, and changes nothing"},
        },
        ("columns", "data"),
    )
    instances = {"type": "array", "minItems": 1, "anyOf": [{"items": {"$ref": row}}, {"items": in_order}]}
    forms = {
        "dataframe_split": split,
        "dataframe_records": {"type": "array", "minItems": 1, "items": {"$ref": row}},
        "instances": instances,
    }
    none = {"type": ["object", "null"], "maxProperties": 0, "description": "no model takes parameters"}
    return {"anyOf": [_closed({form: schema, "params": none}, (form,)) for form, schema in forms.items()]}


def _inputs(signature: Signature, optional: Sequence[str]) -> Json:
    keys = (signature.entity, signature.timestamp)
    tensors = [
        *(_tensor({"const": feature.name}, open_inference.datatypes(feature)) for feature in signature.features),
        *(_tensor({"const": name}, open_inference.key_datatypes(name, signature)) for name in keys),
    ]
    codes = ", ".join(feature.name for feature in signature.features if feature.categories)
    matrix = _tensor(_TEXT, open_inference.FLOATS) | {
        "description": f"all features at once, [n, {len(signature.names)}], in this order: {', '.join(signature.names)}"
        + (f"; categories are their codes: {codes}" if codes else "")
    }
    each = {"type": "array", "minItems": len(_carried(signature, optional)) or 1, "items": {"anyOf": tensors}}
    output = _closed({"name": {"const": open_inference.OUTPUT}, "parameters": _OPTIONS}, ("name",))
    return _closed(
        {
            "id": _TEXT,
            "parameters": _OPTIONS,
            "inputs": {"anyOf": [each, {"type": "array", "minItems": 1, "maxItems": 1, "items": matrix}]},
            "outputs": _list(output),
        },
        ("inputs",),
    )


def _tensor(name: Json, datatypes: Sequence[str]) -> Json:
    types = ["string", "null"] if tuple(datatypes) == open_inference.TEXTS else ["string", "number", "null"]
    value = {"type": types if open_inference.TEXTS[0] in datatypes else ["number", "null"]}
    fields = {
        "name": name,
        "shape": {"type": "array", "minItems": 1, "maxItems": 2, "items": _COUNT},
        "datatype": {"enum": list(datatypes)},
        "data": {"type": "array", "minItems": 1, "items": {"anyOf": [value, {"type": "array", "items": value}]}},
        "parameters": _OPTIONS,
    }
    return _closed(fields, ("name", "shape", "datatype", "data"))


def _predictions(model: str) -> Json:
    score = {"$ref": f"#/components/schemas/{model}.Score"}
    return _fields(predictions=_list(score), model_version=_COUNT, request_id=_TEXT)


def _score(signature: Signature) -> Json:
    """What a row gets."""
    if signature.task == "regression":
        return {"type": "number", "description": "the predicted number"}
    share: Json = {"type": "number", "minimum": 0, "maximum": 1}
    if signature.task == "binary":
        return share | {"description": "the probability of 1"}
    return {
        "type": "array",
        "prefixItems": [share | {"description": f"probability of '{name}'"} for name in signature.classes],
        "minItems": len(signature.classes),
        "maxItems": len(signature.classes),
        "description": f"probabilities in this order: {', '.join(signature.classes)}",
    }


def _metadata() -> Json:
    tensor = _fields(name=_TEXT, datatype=_TEXT, shape=_list({"type": "integer"}))
    tensor["properties"]["parameters"] = {"type": "object"}
    return _fields(name=_TEXT, versions=_list(_TEXT), platform=_TEXT, inputs=_list(tensor), outputs=_list(tensor))


def _inference() -> Json:
    """The scores of any model: `[rows]`, or `[rows, classes]` with the data of one row after the other."""
    scores = _fields(
        name={"const": open_inference.OUTPUT},
        datatype={"const": open_inference.FLOATS[0]},
        shape=_list(_COUNT),
        data=_list({"type": "number"}),
    )
    return _fields(model_name=_TEXT, model_version=_TEXT, id=_TEXT, outputs=_list(scores))


def _error() -> Json:
    error = _fields(error=_TEXT, request_id=_TEXT)
    error["properties"]["model_version"] = _COUNT
    return error


def _fields(**fields: Json) -> Json:
    """An object of an answer, which has all of these."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def _closed(properties: Mapping[str, Json], required: Sequence[str]) -> Json:
    """An object of a request, which has nothing else."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _example(feature: Feature) -> float | str:
    return feature.categories[0] if feature.categories else 1.5


def _record_example(signature: Signature) -> Json:
    return {"dataframe_records": [{feature.name: _example(feature) for feature in signature.features}]}


def _tensor_example(signature: Signature) -> Json:
    return {
        "inputs": [
            {
                "name": feature.name,
                "shape": [1],
                "datatype": open_inference.datatypes(feature)[0],
                "data": [_example(feature)],
            }
            for feature in signature.features
        ]
    }
