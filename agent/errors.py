"""Everything that can go wrong in the agent, in one tree.

AgentError
├── SettingsError          the settings file, the environment or an option is wrong; nothing was started
├── SourceError            a sensor or recording gives nothing; its supervisor tries again
│   ├── PortError          the serial port is missing, refused, busy or silent, or was unplugged
│   ├── RadioError         Bluetooth is missing, off or refused, or a connection failed
│   ├── SensorNotFound     no sensor of that name is in reach, or more than one
│   ├── LinkLost           the radio connection to a sensor was lost
│   ├── RecordingUnusable  the file to replay cannot be read
│   └── CameraError        the camera is missing, refused or silent, or was unplugged
│       └── CameraUnusable the video file cannot be played
├── VisionError
│   ├── ModelsMissing      a model file is missing, or is not the one built in
│   └── VisionLost         the process that analyses pictures died, hung or grew too large; it is restarted
├── OutboxError
│   ├── OutboxInUse        another agent holds this state folder
│   ├── OutboxUnwritable   disk full, read-only or failing; messages stay in memory and writing is retried
│   └── OutboxDamaged      the file is inconsistent; it is moved aside and salvaged
├── UplinkError
│   ├── BrokerUnreachable  no TCP, TLS or MQTT connection could be made
│   ├── BrokerRefused      the broker refused the connection
│   └── ProtocolRefused    the broker does not speak this version of MQTT; the older one is tried next
├── IdentityError
│   ├── IdentityUnusable   the kit's key or certificate cannot be read or written, or they do not match
│   ├── EnrolRefused       the relay refuses to issue this kit a certificate
│   ├── RelayNotTrusted    the server that answered is not the relay this kit was told to trust
│   └── RelayAway          the relay cannot be reached, or asks to try again later
├── UpdateFailed           a sensor's firmware was not updated; the previous one keeps running
├── VideoError             the picture cannot be encoded or sent; a new connection is tried
└── CommandRefused         a command from the relay that this kit cannot carry out
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Base of all. `code` is stable, for logs and status; `data` holds the details named in the text."""

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
