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
            "homeside_scg_samples_received", "Samples received from browsers and kits.", ["source"]
        )
        self.samples_stored = counter("homeside_scg_samples_stored", "Samples committed to the database.")
        self.duplicates = counter("homeside_scg_duplicate_messages", "Messages received more than once.")
        self.refused = counter("homeside_scg_refused_messages", "Messages answered with an error.", ["code"])
        self.frames_dropped = counter("homeside_frames_dropped", "Live messages that slow viewers missed.")
        self.points_sent = counter("homeside_scg_grid_points", "Grid points computed for viewers.")
        self.gaps = counter("homeside_scg_gaps", "Gaps found in live waveforms.")
        self.sockets = gauge("homeside_sockets", "Open WebSockets.")
        self.live_sessions = gauge("homeside_live_sessions", "Sessions held in memory.")
        self.recordings_removed = counter("homeside_recordings_removed", "Recordings removed by the retention policy.")
        self.samples_thinned = counter(
            "homeside_samples_thinned", "Samples removed when the retention policy thinned recordings."
        )
        self.pending_samples = gauge("homeside_pending_samples", "Samples received but not yet committed.")
        self.commit_failures = counter("homeside_commit_failures", "Commits that failed and were tried again.")
        self.unstorable = counter(
            "homeside_unstorable_messages", "Messages the database cannot store; they are discarded."
        )
        self.faults = counter("homeside_faults", "Unexpected errors in the program; the log has the traceback.", ["of"])
        self.commit_seconds = latency("homeside_commit_seconds", "Duration of a commit of samples.")
        self.kits_online = gauge("homeside_kits_online", "Kits that report being online.")
        self.kits_refused = counter("homeside_kits_refused", "Connections refused by the embedded broker.", ["why"])
        self.kits_dropped = counter("homeside_kits_dropped", "Connections closed because their kit was revoked.")
        self.requests_refused = counter(
            "homeside_requests_refused", "Requests and WebSockets refused before they reached an API.", ["status"]
        )
        self.connections_refused = counter(
            "homeside_connections_refused",
            "Connections refused at a limit: of one address, of the relay, or of the system's file descriptors.",
            ["why"],
        )
        self.connections_ended = counter(
            "homeside_connections_ended",
            "Connections closed because a handshake, head, body or answer took too long or was too large.",
            ["over"],
        )
        self.bus_connected = gauge("homeside_bus_connected", "1 while the relay is connected to its broker.")
        self.bus_dropped = counter(
            "homeside_bus_dropped_messages", "Messages to kits discarded because the broker was unreachable."
        )
        self.relays = gauge("homeside_relays", "Relays in the cluster, including this one.")
        self.clock_apart_seconds = gauge(
            "homeside_clock_apart_seconds", "How far the clock of the longest-running relay was ahead of this one's."
        )
        self.stream_messages = gauge("homeside_stream_messages", "Messages from kits in the stream, not yet committed.")
        self.refilled = counter("homeside_scg_refilled", "Gaps in a live waveform filled from the database.")
        self.timer_sessions = gauge("homeside_timer_sessions", "Timer sessions held in memory.")
        self.timer_switches = counter("homeside_timer_switches", "Switches requested and made.")
        self.timer_expired = counter("homeside_timer_expired", "Clocks that ran out.")
        self.timer_refused = counter("homeside_timer_refused", "Timer requests answered with an error.", ["code"])
        self.timer_late_seconds = latency(
            "homeside_timer_late_seconds", "Delay between a timer's deadline and the expiry or warning sent for it."
        )
        self.timer_commit_seconds = latency("homeside_timer_commit_seconds", "Duration of a commit of timers.")
        self.signs_frames = counter(
            "homeside_signs_frames", "Frames searched for a hand, by whether one was found.", ["hand"]
        )
        self.signs_dropped = counter(
            "homeside_signs_dropped",
            "Frames, answers and contexts discarded for a newer one or at a limit.",
            ["what"],
        )
        self.signs_seconds = latency("homeside_signs_frame_seconds", "Time from a frame's arrival to its result.")
        self.signs_translated = counter(
            "homeside_signs_translations", "Sequences translated, by the model or offline.", ["by"]
        )
        self.signs_refused = counter(
            "homeside_signs_refused", "Messages and requests answered with an error.", ["code"]
        )
        self.video_viewers = gauge("homeside_video_viewers", "Video viewers, connecting or connected.")
        self.video_publications = gauge("homeside_video_publications", "Cameras that are sending.")
        self.video_handed = gauge("homeside_video_handed", "Cameras being forwarded to a media server.")
        self.video_relayed = gauge("homeside_video_relayed", "Cameras shown here while they send to another relay.")
        self.video_packets = counter(
            "homeside_video_packets", "Media packets, by direction: in from cameras, out to viewers.", ["way"]
        )
        self.video_repaired = counter("homeside_video_repaired_packets", "Packets sent to viewers again after a loss.")
        self.video_skipped = counter("homeside_video_skips", "Times a slow viewer had to skip to the next keyframe.")
        self.video_keyframe_requests = counter("homeside_video_keyframe_requests", "Keyframes requested from cameras.")
        self.video_offers = counter("homeside_video_offers", "Offers answered, by outcome.", ["outcome"])
        self.video_answer_seconds = latency("homeside_video_answer_seconds", "Time to answer an offer.")
        self.tasks = gauge("homeside_tasks", "Running tasks in the relay's event loop.")

    def exposition(self) -> bytes:
        """The text format Prometheus reads."""
        return generate_latest(self.registry)
