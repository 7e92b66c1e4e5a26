"""OpenSCG v0.1 as models: what the patient's side sends, what viewers receive, and the JSON of both.

Every transport carries the same body: a kit publishes over MQTT the JSON that a phone sends over its WebSocket, and
adds `session`, `boot` and `seq` beside `type` and `payload`, so that the relay can acknowledge it and never stores it
twice.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.contracts.errors import InvalidMessage, MalformedMessage
from core.contracts.numbers import decoded
from core.contracts.text import NO_NUL

FORMAT_VERSION = "0.1"
MAX_SAMPLES_PER_BATCH = 10_000
"""A batch usually covers 0.1 to 1 s; the bound keeps one message from occupying the relay for a second."""

Floats = NDArray[np.float64]
Text = Annotated[str, msgspec.Meta(pattern=NO_NUL)]
Unit = Literal["m/s2", "g"]
_T = TypeVar("_T")


class Sample(msgspec.Struct, gc=False):
    """One raw sample: `t` in ms (since the epoch or page load, not necessarily whole), acceleration in the session's
    unit.
    """

    t: float
    az: float | None
    ax: float | None = None
    ay: float | None = None


class ClockNote(msgspec.Struct, omit_defaults=True):
    """How a kit derived the times of a batch; stored with it, so that the clock of a recording can be fitted again
    later.

    `packets`: per sensor packet, the device counter at its newest sample, the arrival on the host's monotonic clock in
    ns, and the number of samples. `tick_ns`: length of a counter tick, None for a sensor without a clock. `offset_ns`:
    time of day minus the host's monotonic clock.
    """

    error_ms: float | None = msgspec.field(default=None, name="errorMs")
    tick: float | None = None
    arrival_ns: int | None = msgspec.field(default=None, name="arrivalNs")
    tick_ns: float | None = msgspec.field(default=None, name="tickNs")
    offset_ns: int | None = msgspec.field(default=None, name="offsetNs")
    packets: list[tuple[int, int, int]] = []


class SamplesBatch(msgspec.Struct, omit_defaults=True):
    """Payload of `samples_batch`. `lost`: samples missing just before these, according to the sensor's own counter."""

    samples: list[Sample]
    clock: ClockNote | None = None
    lost: int = 0


class Device(msgspec.Struct, rename="camel"):
    """The device that measured: the document's two keys."""

    user_agent: Text = ""
    platform: Text = ""


class Sensor(msgspec.Struct, rename="camel", omit_defaults=True):
    """The sensor: name, family, nominal rate in Hz and range in g."""

    name: Text = ""
    kind: Text = ""
    rate_hz: float | None = None
    range_g: float | None = None


class DeviceSaid(Device):
    """Payload of `device`: how a measuring browser describes itself. `unit` is m/s2 unless given as g."""

    unit: Unit = "m/s2"


class Ping(msgspec.Struct):
    """Payload of `ping`; `sent` is returned unchanged beside the relay's time."""

    sent: float


class SessionStarted(msgspec.Struct, rename="camel", omit_defaults=True):
    """Payload of a kit's `session_started`, the first message the relay receives about a session begun on a kit."""

    started_at: str
    device: Device = msgspec.field(default_factory=Device)
    unit: Unit = "m/s2"
    sensor: Sensor | None = None


class SessionEnded(msgspec.Struct, rename="camel"):
    """Payload of a kit's `session_ended`; `ended_at` in ISO 8601."""

    ended_at: str


class Envelope(msgspec.Struct, omit_defaults=True):
    """Any message to the relay, before its payload is decoded."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    session: str | None = None
    boot: Annotated[str, msgspec.Meta(max_length=64, pattern=NO_NUL)] | None = None
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None

    @property
    def number(self) -> tuple[str, int] | None:
        """(boot, seq) if the sender numbers its messages and so expects acknowledgements, else None."""
        return None if self.boot is None or self.seq is None else (self.boot, self.seq)


class Columns(msgspec.Struct):
    """Samples as four columns of equal length, in the order sent. A missing or null axis is NaN."""

    t: Floats
    ax: Floats
    ay: Floats
    az: Floats

    def __len__(self) -> int:
        return len(self.t)


_envelope = msgspec.json.Decoder(Envelope)
_encoder = msgspec.json.Encoder()


def decode_envelope(data: bytes | str) -> Envelope:
    """Split a message into type and raw payload.

    Raises MalformedMessage when it is not a JSON object and InvalidMessage when `type` is absent or of the wrong type.
    """
    try:
        return decoded(data, Envelope)
    except msgspec.ValidationError as error:
        raise InvalidMessage(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _lenient_envelope(data)


def _lenient_envelope(data: bytes | str) -> Envelope:
    """Accept NaN and Infinity as null: they are not JSON, yet real clients send them, and the rest of the batch is
    good.
    """
    try:
        found = json.loads(data, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not JSON: {error}") from None
    try:
        return _envelope.decode(_encoder.encode(found))
    except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError, RecursionError) as error:
        raise InvalidMessage(str(error)) from None


def decode_payload(raw: msgspec.Raw, kind: type[_T]) -> _T:
    """The payload as one of the models above. Raises InvalidMessage, which names the field."""
    try:
        return decoded(raw, kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidMessage(str(error).replace("`$", "`$.payload")) from None


def columns(batch: SamplesBatch) -> Columns:
    """A batch's samples as columns. Raises InvalidMessage when there are none or too many."""
    if not batch.samples:
        raise InvalidMessage("Expected at least one sample - at `$.payload.samples`")
    if len(batch.samples) > MAX_SAMPLES_PER_BATCH:
        raise InvalidMessage(
            f"Expected at most {MAX_SAMPLES_PER_BATCH} samples, got {len(batch.samples)} - at `$.payload.samples`"
        )
    rows = np.array([(s.t, s.ax, s.ay, s.az) for s in batch.samples], dtype=np.float64)
    t, ax, ay, az = np.ascontiguousarray(rows.T)
    return Columns(t=t, ax=ax, ay=ay, az=az)


def number(value: float) -> float | int | None:
    """A float as JSON readers expect it: null for NaN and infinities, no `.0` on whole numbers."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def message(kind: str, payload: dict[str, Any], **beside: Any) -> bytes:
    return _encoder.encode({"type": kind, **beside, "payload": payload})


def interpolated_batch(t: NDArray[np.int64], az: Floats) -> bytes:
    """The documented broadcast. `t`: strictly increasing multiples of 10 ms; `az` is rounded to six decimals."""
    samples = [{"t": when, "az": round(value, 6)} for when, value in zip(t.tolist(), az.tolist(), strict=True)]
    return message("interpolated_batch", {"interpolatedSamples": samples})


def status_update(status: str, viewer_count: int) -> bytes:
    return message("status_update", {"status": status, "viewerCount": viewer_count})


def gap(start_ms: float, end_ms: float) -> bytes:
    return message("gap", {"from": number(start_ms), "to": number(end_ms)})


def error(code: str, text: str) -> bytes:
    return message("error", {"code": code, "message": text})


def ack(boot: str, ranges: list[list[int]]) -> bytes:
    """Acknowledges that every `seq` in the inclusive `ranges` of `boot` is committed to the relay's database."""
    return message("ack", {"boot": boot, "seq": ranges})


def reject(boot: str, seq: int, code: str, text: str) -> bytes:
    """Says that this message will never be stored, however often it is sent; the sender sets it aside and
    reports it.
    """
    return message("reject", {"boot": boot, "seq": seq, "code": code, "message": text})


def iso(moment_ms: float) -> str:
    """Epoch ms in the document's spelling, `2025-07-21T14:30:00.123Z`."""
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
