"""Removes an unneeded output from a model, with the operators that only serve it.

The pose models also draw a full-size mask of the person. Without it the light model takes a third of the time here, and
every other output is identical to the last bit (tests/agent/vision/test_vision_pose.py).
"""

from __future__ import annotations

from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

FILE_IDENTIFIER = b"TFL3"


def without_output(model: bytes, number: int) -> bytes:
    """The TFLite model (of one graph) without its output `number`; later outputs move up by one."""
    whole: Any = schema.ModelT.InitFromPackedBuf(bytearray(model), 0)
    graph = whole.subgraphs[0]
    graph.outputs = [tensor for place, tensor in enumerate(graph.outputs) if place != number]
    graph.operators = _leading_to(graph.operators, {int(tensor) for tensor in graph.outputs})
    whole.signatureDefs = []
    builder = flatbuffers.Builder(len(model) + 4096)
    builder.Finish(whole.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _leading_to(operators: list[Any], wanted: set[int]) -> list[Any]:
    """The operators needed for the wanted tensors.

    They are stored in order of execution, so one backward pass finds them.
    """
    kept = []
    for operator in reversed(operators):
        if wanted.intersection(int(tensor) for tensor in operator.outputs):
            kept.append(operator)
            wanted.update(int(tensor) for tensor in operator.inputs)
    return kept[::-1]
