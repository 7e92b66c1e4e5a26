"""OpenSCG v0.1 as models: what a patient's side sends, what viewers get, and how both look as JSON.

One body for every transport: a kit publishes over MQTT the same JSON a phone sends over its WebSocket, and adds
`session`, `boot` and `seq` beside `type` and `payload` so that the relay can acknowledge and never store twice.
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
"""A batch is 0.1 to 1 s of samples; this bound stops one message from holding the relay for a second."""

Floats = NDArray[np.float64]
Text = Annotated[str, msgspec.Meta(pattern=NO_NUL)]
Unit = Literal["m/s2", "g"]
_T = TypeVar("_T")


class Sample(msgspec.Struct, gc=False):
    """One raw sample: `t` in ms (epoch or page-relative, integer or not), acceleration in the session's unit."""

    t: float
    az: float | None
    ax: float | None = None
    ay: float | None = None


class ClockNote(msgspec.Struct, omit_defaults=True):
    """How a kit came by the times of a batch: kept with it, so that a recording can be refitted later.

    `packets`: for each packet of the sensor the device's counter at its newest sample, the host-monotonic arrival in
    ns, and how many samples it held. A tick is `tick_ns` long, None for a sensor without a clock. `offset_ns`: time of
    day minus the host's monotonic clock.
    """

    error_ms: float | None = msgspec.field(default=None, name="errorMs")
    tick: float | None = None
    arrival_ns: int | None = msgspec.field(default=None, name="arrivalNs")
    tick_ns: float | None = msgspec.field(default=None, name="tickNs")
    offset_ns: int | None = msgspec.field(default=None, name="offsetNs")
    packets: list[tuple[int, int, int]] = []


class SamplesBatch(msgspec.Struct, omit_defaults=True):
    """Payload of `samples_batch`. `lost` counts samples the sensor's own counter says never arrived before these."""

    samples: list[Sample]
    clock: ClockNote | None = None
    lost: int = 0


class Device(msgspec.Struct, rename="camel"):
    """Who measured. The two documented keys; a kit's sensor may add its name and nominal rate."""

    user_agent: Text = ""
    platform: Text = ""


class Sensor(msgspec.Struct, rename="camel", omit_defaults=True):
    """What measured: its name, its family, its nominal rate in Hz and its range in g."""

    name: Text = ""
    kind: Text = ""
    rate_hz: float | None = None
    range_g: float | None = None


class DeviceSaid(Device):
    """Payload of `device`: what a browser that measures says of itself. `unit` is m/s2 unless it says g."""

    unit: Unit = "m/s2"


class Ping(msgspec.Struct):
    """Payload of `ping`; `sent` comes back as it was, beside the relay's time."""

    sent: float


class SessionStarted(msgspec.Struct, rename="camel", omit_defaults=True):
    """Payload of a kit's `session_started`: the first thing the relay hears of a session begun on a kit."""

    started_at: str
    device: Device = msgspec.field(default_factory=Device)
    unit: Unit = "m/s2"
    sensor: Sensor | None = None


class SessionEnded(msgspec.Struct, rename="camel"):
    """Payload of a kit's `session_ended`; ISO 8601."""

    ended_at: str


class Envelope(msgspec.Struct, omit_defaults=True):
    """Any message towards the relay, before its payload is looked at."""

    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    session: str | None = None
    boot: Annotated[str, msgspec.Meta(max_length=64, pattern=NO_NUL)] | None = None
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None

    @property
    def number(self) -> tuple[str, int] | None:
        """(boot, seq) of a sender that numbers its messages, and wants them acknowledged."""
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
    """NaN and Infinity are no JSON, yet real clients send them: one such sample must not cost its whole batch."""
    try:
        found = json.loads(data, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"not JSON: {error}") from None
    try:
        return _envelope.decode(_encoder.encode(found))
    except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError, RecursionError) as error:
        raise InvalidMessage(str(error)) from None


def decode_payload(raw: msgspec.Raw, kind: type[_T]) -> _T:
    """The payload as one of the models above; InvalidMessage names the field that is wrong."""
    try:
        return decoded(raw, kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidMessage(str(error).replace("`$", "`$.payload")) from None


def columns(batch: SamplesBatch) -> Columns:
    """A batch's samples as columns; InvalidMessage when there are none or too many, or a time is not finite."""
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
    """A float as a reader of JSON expects it: null for NaN, no `.0` on whole numbers."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def message(kind: str, payload: dict[str, Any], **beside: Any) -> bytes:
    return _encoder.encode({"type": kind, **beside, "payload": payload})


def interpolated_batch(t: NDArray[np.int64], az: Floats) -> bytes:
    """The documented broadcast; `t` strictly increasing multiples of 10 ms, `az` to a millionth of its unit."""
    samples = [{"t": when, "az": round(value, 6)} for when, value in zip(t.tolist(), az.tolist(), strict=True)]
    return message("interpolated_batch", {"interpolatedSamples": samples})


def status_update(status: str, viewer_count: int) -> bytes:
    return message("status_update", {"status": status, "viewerCount": viewer_count})


def gap(start_ms: float, end_ms: float) -> bytes:
    return message("gap", {"from": number(start_ms), "to": number(end_ms)})


def error(code: str, text: str) -> bytes:
    return message("error", {"code": code, "message": text})


def ack(boot: str, ranges: list[list[int]]) -> bytes:
    """Committed to the relay's database: every `seq` in the inclusive `ranges` of that `boot`."""
    return message("ack", {"boot": boot, "seq": ranges})


def reject(boot: str, seq: int, code: str, text: str) -> bytes:
    """Will never be stored, however often it is sent again: the sender keeps it aside and says so."""
    return message("reject", {"boot": boot, "seq": seq, "code": code, "message": text})


def iso(moment_ms: float) -> str:
    """Epoch ms as `2025-07-21T14:30:00.123Z`, the document's own spelling."""
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
