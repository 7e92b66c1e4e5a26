"""What the relay counts, for /metrics. Names carry their unit; docs/metrics.md lists them and a test compares."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """One registry per relay, so that two relays in one test do not count into each other."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        latency = partial(Histogram, buckets=_LATENCY_BUCKETS, registry=registry)
        self.samples_received = counter(
            "homeside_scg_samples_received", "Samples taken from patients and kits.", ["source"]
        )
        self.samples_stored = counter("homeside_scg_samples_stored", "Samples committed.")
        self.duplicates = counter("homeside_scg_duplicate_messages", "Messages that had been taken before.")
        self.refused = counter("homeside_scg_refused_messages", "Messages answered with an error.", ["code"])
        self.frames_dropped = counter("homeside_frames_dropped", "Live messages slow viewers missed.")
        self.points_sent = counter("homeside_scg_grid_points", "Grid points made for viewers.")
        self.gaps = counter("homeside_scg_gaps", "Gaps found in live lines.")
        self.sockets = gauge("homeside_sockets", "Open WebSockets.")
        self.live_sessions = gauge("homeside_live_sessions", "Sessions held in memory.")
        self.recordings_removed = counter(
            "homeside_recordings_removed", "Recordings that the policy of retention removed."
        )
        self.samples_thinned = counter("homeside_samples_thinned", "Samples left out of old recordings by that policy.")
        self.pending_samples = gauge("homeside_pending_samples", "Samples taken and not yet committed.")
        self.commit_failures = counter("homeside_commit_failures", "Commits the database refused.")
        self.unstorable = counter("homeside_unstorable_messages", "Messages the database could not keep.")
        self.faults = counter(
            "homeside_faults", "Work that ended with a fault of the program; the log has its trace.", ["of"]
        )
        self.commit_seconds = latency("homeside_commit_seconds", "Time a commit took.")
        self.kits_online = gauge("homeside_kits_online", "Kits that say they are online.")
        self.kits_refused = counter(
            "homeside_kits_refused", "Connections to the broker inside that were refused.", ["why"]
        )
        self.kits_dropped = counter("homeside_kits_dropped", "Live connections ended because their kit was revoked.")
        self.requests_refused = counter(
            "homeside_requests_refused", "Requests and sockets refused before any API.", ["status"]
        )
        self.connections_refused = counter(
            "homeside_connections_refused",
            "Connections for which there was no room: an address's, the relay's, or a descriptor of the system.",
            ["why"],
        )
        self.connections_ended = counter(
            "homeside_connections_ended",
            "Connections ended because what they began took too long, or was too long: handshake, head, body, answer.",
            ["over"],
        )
        self.bus_connected = gauge("homeside_bus_connected", "1 while the relay hears its broker.")
        self.bus_dropped = counter(
            "homeside_bus_dropped_messages", "Messages to kits given up because the broker was away."
        )
        self.relays = gauge("homeside_relays", "Relays of the cluster, this one included.")
        self.clock_apart_seconds = gauge(
            "homeside_clock_apart_seconds", "How far the senior relay's timescale was ahead."
        )
        self.stream_messages = gauge("homeside_stream_messages", "Messages of kits in the stream, not yet committed.")
        self.refilled = counter("homeside_scg_refilled", "Holes in a live line that were filled from the database.")
        self.timer_sessions = gauge("homeside_timer_sessions", "Timer sessions held in memory.")
        self.timer_switches = counter("homeside_timer_switches", "Turns taken by request.")
        self.timer_expired = counter("homeside_timer_expired", "Times a clock ran out.")
        self.timer_refused = counter("homeside_timer_refused", "Timer requests answered with an error.", ["code"])
        self.timer_late_seconds = latency(
            "homeside_timer_late_seconds", "How long after its deadline an expiry or a warning went out."
        )
        self.timer_commit_seconds = latency("homeside_timer_commit_seconds", "Time a commit of timers took.")
        self.signs_frames = counter(
            "homeside_signs_frames", "Frames looked at for hands, by whether there was one.", ["hand"]
        )
        self.signs_dropped = counter(
            "homeside_signs_dropped",
            "What was left out because something newer came, or a bound was reached: frames, answers, contexts.",
            ["what"],
        )
        self.signs_seconds = latency("homeside_signs_frame_seconds", "From a frame's arrival to its detection.")
        self.signs_translated = counter("homeside_signs_translations", "Sequences translated, by whom.", ["by"])
        self.signs_refused = counter(
            "homeside_signs_refused", "Messages and requests answered with an error.", ["code"]
        )
        self.video_viewers = gauge("homeside_video_viewers", "Viewers of video, connecting or connected.")
        self.video_publications = gauge("homeside_video_publications", "Cameras sending now.")
        self.video_handed = gauge("homeside_video_handed", "Cameras handed on to a media server now.")
        self.video_relayed = gauge("homeside_video_relayed", "Cameras shown here that send to another relay.")
        self.video_packets = counter(
            "homeside_video_packets", "Media packets, by direction: in from cameras, out to viewers.", ["way"]
        )
        self.video_repaired = counter("homeside_video_repaired_packets", "Packets sent again to viewers.")
        self.video_skipped = counter("homeside_video_skips", "Times a slow viewer was skipped to the next keyframe.")
        self.video_keyframe_requests = counter("homeside_video_keyframe_requests", "Keyframes asked of cameras.")
        self.video_offers = counter("homeside_video_offers", "Offers answered, by outcome.", ["outcome"])
        self.video_answer_seconds = latency("homeside_video_answer_seconds", "Time an offer's answer took.")
        self.tasks = gauge("homeside_tasks", "Tasks of the relay's event loop that have not ended.")

    def exposition(self) -> bytes:
        """The text format Prometheus reads."""
        return generate_latest(self.registry)
