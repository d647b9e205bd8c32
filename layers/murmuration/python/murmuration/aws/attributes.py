"""Converts items between Python values and DynamoDB's notation of attribute values."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any, TypeAlias

from murmuration.aws import packing

Item = dict[str, Any]
StoredItem = Mapping[str, Any]
"""An item as it was read. It must not be changed."""
AttributeValue: TypeAlias = "dict[str, Any]"
"""One value in DynamoDB's notation, with its type as the only key: `{"S": "text"}`, `{"N": "1"}`."""
WireItem: TypeAlias = "dict[str, AttributeValue]"


def serialize(value: object) -> AttributeValue:
    """Return a Python value as a DynamoDB attribute value. Raises TypeError."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case None:
            return {"NULL": True}
        case bytes():
            return {"B": value}
        case list() | tuple():
            return {"L": [serialize(element) for element in value]}
        case Mapping():
            return {"M": {name: serialize(element) for name, element in value.items()}}
        case frozenset() | set():
            return {"SS": sorted(value)}
        case _:
            raise TypeError(f"{type(value).__name__} can't be stored")


def deserialize(attribute: AttributeValue) -> Any:
    """Return the Python value of a DynamoDB attribute value."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "B":
            return b64decode(value) if isinstance(value, str) else value
        case "N":
            return int(value)
        case "NULL":
            return None
        case "L":
            return [deserialize(element) for element in value]
        case "M":
            return {name: deserialize(element) for name, element in value.items()}
        case "SS":
            return frozenset(value)
        case _:
            raise TypeError(f"attribute type {kind} is not used here")


def to_attributes(item: StoredItem) -> WireItem:
    """Return the item as DynamoDB's attribute values; most are strings."""
    return {name: {"S": value} if type(value) is str else serialize(value) for name, value in item.items()}


def from_attributes(attributes: Mapping[str, AttributeValue]) -> Item:
    """Return the item for DynamoDB's attribute values, with a packed text unpacked."""
    item = {}
    for name, attribute in attributes.items():
        for kind, value in attribute.items():  # there is exactly one; most are strings and numbers
            item[name] = value if kind == "S" else int(value) if kind == "N" else deserialize(attribute)
    packing.unpack_item(item)
    return item
