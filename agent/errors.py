"""Everything that can go wrong in the agent, drawn once.

AgentError
├── SettingsError          the settings file, the environment or an option is wrong; nothing was started
├── SourceError            a sensor or a recording gives nothing; its supervisor tries again
│   ├── PortError          the serial port is missing, refused, busy, silent or was unplugged
│   ├── RadioError         Bluetooth is missing, off or refused, or a connection did not come about
│   ├── SensorNotFound     nothing of that name is in reach, or more than one
│   ├── LinkLost           the radio link to a sensor broke off
│   ├── RecordingUnusable  the file to replay cannot be read
│   └── CameraError        the camera is missing, refused, silent or was unplugged
│       └── CameraUnusable the video file cannot be played
├── VisionError
│   ├── ModelsMissing      a model file is not there, or is not the one that was built in
│   └── VisionLost         the process that looks at pictures died, hung, or grew too large; it is started again
├── OutboxError
│   ├── OutboxInUse        another agent holds this state folder
│   ├── OutboxUnwritable   disk full, read-only or failing; messages stay in memory and are tried again
│   └── OutboxDamaged      the file contradicts itself; it is moved aside and salvaged
├── UplinkError
│   ├── BrokerUnreachable  no TCP, TLS or MQTT connection came about
│   ├── BrokerRefused      the broker answered, with no
│   └── ProtocolRefused    the broker does not speak this version of MQTT; the older one is tried next
├── IdentityError
│   ├── IdentityUnusable   the kit's key or certificate cannot be read, written, or do not fit each other
│   ├── EnrolRefused       the relay will not give this kit a certificate
│   ├── RelayNotTrusted    who answers there is not the relay this kit was told to trust
│   └── RelayAway          the relay cannot be reached or asks to try again
├── UpdateFailed           a sensor's firmware was not updated; what ran before runs on
├── VideoError             the picture cannot be encoded or sent; a new connection is tried
└── CommandRefused         a command from the relay that this kit cannot carry out
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Base of all. `code` is stable for logs and status; `data` holds what the sentence speaks of."""

    code: ClassVar[str] = "AGENT_ERROR"

    def __init__(self, text: str, **data: object) -> None:
        super().__init__(text)
        self.data = data


class SettingsError(AgentError):
    code = "SETTINGS_ERROR"


class SourceError(AgentError):
    code = "SOURCE_ERROR"


class PortError(SourceError):
    code = "PORT_ERROR"


class RadioError(SourceError):
    code = "RADIO_ERROR"


class SensorNotFound(SourceError):
    code = "SENSOR_NOT_FOUND"


class LinkLost(SourceError):
    code = "LINK_LOST"


class RecordingUnusable(SourceError):
    code = "RECORDING_UNUSABLE"


class CameraError(SourceError):
    code = "CAMERA_ERROR"


class CameraUnusable(CameraError):
    code = "CAMERA_UNUSABLE"


class VisionError(AgentError):
    code = "VISION_ERROR"


class ModelsMissing(VisionError):
    code = "MODELS_MISSING"


class VisionLost(VisionError):
    code = "VISION_LOST"


class OutboxError(AgentError):
    code = "OUTBOX_ERROR"


class OutboxInUse(OutboxError):
    code = "OUTBOX_IN_USE"


class OutboxUnwritable(OutboxError):
    code = "OUTBOX_UNWRITABLE"


class OutboxDamaged(OutboxError):
    code = "OUTBOX_DAMAGED"


class UplinkError(AgentError):
    code = "UPLINK_ERROR"


class BrokerUnreachable(UplinkError):
    code = "BROKER_UNREACHABLE"


class BrokerRefused(UplinkError):
    code = "BROKER_REFUSED"


class ProtocolRefused(UplinkError):
    code = "PROTOCOL_REFUSED"


class IdentityError(AgentError):
    code = "IDENTITY_ERROR"


class IdentityUnusable(IdentityError):
    code = "IDENTITY_UNUSABLE"


class EnrolRefused(IdentityError):
    code = "ENROL_REFUSED"


class RelayNotTrusted(IdentityError):
    code = "RELAY_NOT_TRUSTED"


class RelayAway(IdentityError):
    code = "RELAY_AWAY"


class UpdateFailed(AgentError):
    code = "UPDATE_FAILED"


class VideoError(AgentError):
    code = "VIDEO_ERROR"


class CommandRefused(AgentError):
    code = "COMMAND_REFUSED"
