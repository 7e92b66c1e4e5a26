"""Assembles the model bundles that MediaPipe's Tasks expect from the locked models: a zip of two, stored uncompressed.

Tasks need to know how an input is normalised, and the published models do not say. So TFLite metadata is added: mean 0
and deviation 255 (0..255 to 0..1), or 127.5 and 127.5 for the pose detector (to -1..1). A deviation of 1 also loads and
runs, but gives wrong landmarks.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any, NamedTuple

import flatbuffers
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata
from mediapipe.tasks.metadata import schema_py_generated as schema

LOCAL_HEADER = 30
"""Bytes of a zip entry's local header before its name (APPNOTE 4.3.7)."""
ALIGNED_TO = 16
"""Entries with another alignment would be copied to the heap when the bundle is mapped."""
METADATA, FILE_IDENTIFIER = "TFLITE_METADATA", b"TFL3"


class Part(NamedTuple):
    """A model in a bundle: the name that Tasks look for, the file, and its input's normalisation."""

    name: str
    model: bytes
    mean: float = 0.0
    deviation: float = 255.0


def bundle(*parts: Part) -> bytes:
    """The parts as the bytes of one .task file."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for part in parts:
            body = described(part)
            info = zipfile.ZipInfo(part.name)
            begins = written.tell() + LOCAL_HEADER + len(part.name)
            info.extra = _padding(-begins % ALIGNED_TO)
            archive.writestr(info, body)
    return written.getvalue()


def described(part: Part) -> bytes:
    """The model with our metadata in place of its own."""
    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(part.model), 0))
    kept = [(one, model.buffers[one.buffer]) for one in model.metadata or () if one.name != METADATA.encode()]
    note = schema.MetadataT()
    note.name, note.buffer = METADATA, len(model.buffers)
    buffer = schema.BufferT()
    buffer.data = bytearray(_normalisation(part.mean, part.deviation))
    model.buffers.append(buffer)
    model.metadata = [*(one for one, _ in kept), note]
    builder = flatbuffers.Builder(len(part.model) + 4096)
    builder.Finish(model.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _normalisation(mean: float, deviation: float) -> bytes:
    options = metadata.NormalizationOptionsT()
    options.mean, options.std = [mean], [deviation]
    unit = metadata.ProcessUnitT()
    unit.optionsType, unit.options = metadata.ProcessUnitOptions.NormalizationOptions, options
    properties = metadata.ImagePropertiesT()
    properties.colorSpace = metadata.ColorSpaceType.RGB
    content = metadata.ContentT()
    content.contentPropertiesType, content.contentProperties = metadata.ContentProperties.ImageProperties, properties
    tensor = metadata.TensorMetadataT()
    tensor.name, tensor.content, tensor.processUnits = "image", content, [unit]
    graph = metadata.SubGraphMetadataT()
    graph.inputTensorMetadata = [tensor]
    whole = metadata.ModelMetadataT()
    whole.name, whole.subgraphMetadata = "homeside", [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"M001")
    return bytes(builder.Output())


def _padding(size: int) -> bytes:
    """A zip extra field (APPNOTE 4.5) used as padding; its header alone takes four bytes."""
    if size == 0:
        return b""
    if size < 4:
        size += ALIGNED_TO
    return struct.pack("<HH", 0xFFFF, size - 4) + bytes(size - 4)
