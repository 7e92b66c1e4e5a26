"""Construction of the video API: the media folder, the network, the service and its routes."""

from __future__ import annotations

from relay.cluster.cameras import RelayedCameras
from relay.ground import Duty, Ground, Part, Root
from relay.video.gateway import MediaFolder
from relay.video.handoff import HandOff, Server
from relay.video.peers import Network
from relay.video.recorder import Recordings
from relay.video.routes import application
from relay.video.service import Bounds, VideoService
from relay.viewer.documentation import reference


def open_video(ground: Ground) -> Part:
    chosen = ground.settings.video
    media = MediaFolder(chosen.media or ground.settings.data / "media")
    servers = [(one.url, one.username, one.password.get_secret_value()) for one in chosen.ice_servers]
    bounds = Bounds(viewers=chosen.viewers, cameras=chosen.cameras, raw=chosen.forward == "packets")
    recordings = Recordings(ground.settings.data / "recordings")
    service = VideoService(media, Network(servers, chosen.gather_ms / 1000), ground.metrics, recordings, bounds)
    duties: dict[str, Duty] = {"video": service.run}
    if ground.cluster is not None:
        service.elsewhere = relayed = RelayedCameras(ground.cluster.link, service, ground.metrics)
        ground.cluster.members.on_gone.append(relayed.gone)
        duties["cameras"] = relayed.run
    server = Server(chosen.hand_off.whip, chosen.hand_off.whep, chosen.hand_off.token.get_secret_value())
    if server.whip:
        handing = HandOff(server, service.own_cameras, service.network, ground.metrics, bounds.raw)
        duties["hand_off"] = handing.run
    return Part(
        "video",
        application(service, ground.access, reference, server),
        root=Root.SCG,
        openable=True,
        duties=duties,
        drained=service.drained,
    )
