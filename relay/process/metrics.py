"""What the relay counts, for /metrics. Names carry their unit; docs/metrics.md lists them and a test compares."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """One registry per relay, so that two relays in one test do not count into each other."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        register = self.registry
        self.samples_received = Counter(
            "homeside_scg_samples_received",
            "Samples taken from patients and kits.",
            ["source"],
            registry=register,
        )
        self.samples_stored = Counter("homeside_scg_samples_stored", "Samples committed.", registry=register)
        self.duplicates = Counter(
            "homeside_scg_duplicate_messages", "Messages that had been taken before.", registry=register
        )
        self.refused = Counter(
            "homeside_scg_refused_messages", "Messages answered with an error.", ["code"], registry=register
        )
        self.frames_dropped = Counter(
            "homeside_frames_dropped", "Live messages slow viewers missed.", registry=register
        )
        self.points_sent = Counter("homeside_scg_grid_points", "Grid points made for viewers.", registry=register)
        self.gaps = Counter("homeside_scg_gaps", "Gaps found in live lines.", registry=register)
        self.sockets = Gauge("homeside_sockets", "Open WebSockets.", registry=register)
        self.live_sessions = Gauge("homeside_live_sessions", "Sessions held in memory.", registry=register)
        self.recordings_removed = Counter(
            "homeside_recordings_removed", "Recordings that the policy of retention removed.", registry=register
        )
        self.samples_thinned = Counter(
            "homeside_samples_thinned", "Samples left out of old recordings by that policy.", registry=register
        )
        self.pending_samples = Gauge(
            "homeside_pending_samples", "Samples taken and not yet committed.", registry=register
        )
        self.commit_failures = Counter("homeside_commit_failures", "Commits the database refused.", registry=register)
        self.unstorable = Counter(
            "homeside_unstorable_messages", "Messages the database could not keep.", registry=register
        )
        self.faults = Counter(
            "homeside_faults",
            "Work that ended with a fault of the program; the log has its trace.",
            ["of"],
            registry=register,
        )
        self.commit_seconds = Histogram(
            "homeside_commit_seconds", "Time a commit took.", buckets=_LATENCY_BUCKETS, registry=register
        )
        self.kits_online = Gauge("homeside_kits_online", "Kits that say they are online.", registry=register)
        self.kits_refused = Counter(
            "homeside_kits_refused", "Connections to the broker inside that were refused.", ["why"], registry=register
        )
        self.kits_dropped = Counter(
            "homeside_kits_dropped", "Live connections ended because their kit was revoked.", registry=register
        )
        self.requests_refused = Counter(
            "homeside_requests_refused", "Requests and sockets refused before any API.", ["status"], registry=register
        )
        self.connections_refused = Counter(
            "homeside_connections_refused",
            "Connections for which there was no room: an address's, the relay's, or a descriptor of the system.",
            ["why"],
            registry=register,
        )
        self.connections_ended = Counter(
            "homeside_connections_ended",
            "Connections ended because what they began took too long, or was too long: handshake, head, body, answer.",
            ["over"],
            registry=register,
        )
        self.bus_connected = Gauge("homeside_bus_connected", "1 while the relay hears its broker.", registry=register)
        self.bus_dropped = Counter(
            "homeside_bus_dropped_messages",
            "Messages to kits given up because the broker was away.",
            registry=register,
        )
        self.relays = Gauge("homeside_relays", "Relays of the cluster, this one included.", registry=register)
        self.clock_apart_seconds = Gauge(
            "homeside_clock_apart_seconds", "How far the senior relay's timescale was ahead.", registry=register
        )
        self.stream_messages = Gauge(
            "homeside_stream_messages", "Messages of kits in the stream, not yet committed.", registry=register
        )
        self.refilled = Counter(
            "homeside_scg_refilled", "Holes in a live line that were filled from the database.", registry=register
        )
        self.timer_sessions = Gauge("homeside_timer_sessions", "Timer sessions held in memory.", registry=register)
        self.timer_switches = Counter("homeside_timer_switches", "Turns taken by request.", registry=register)
        self.timer_expired = Counter("homeside_timer_expired", "Times a clock ran out.", registry=register)
        self.timer_refused = Counter(
            "homeside_timer_refused", "Timer requests answered with an error.", ["code"], registry=register
        )
        self.timer_late_seconds = Histogram(
            "homeside_timer_late_seconds",
            "How long after its deadline an expiry or a warning went out.",
            buckets=_LATENCY_BUCKETS,
            registry=register,
        )
        self.timer_commit_seconds = Histogram(
            "homeside_timer_commit_seconds",
            "Time a commit of timers took.",
            buckets=_LATENCY_BUCKETS,
            registry=register,
        )
        self.signs_frames = Counter(
            "homeside_signs_frames",
            "Frames looked at for hands, by whether there was one.",
            ["hand"],
            registry=register,
        )
        self.signs_dropped = Counter(
            "homeside_signs_dropped",
            "What was left out because something newer came, or a bound was reached: frames, answers, contexts.",
            ["what"],
            registry=register,
        )
        self.signs_seconds = Histogram(
            "homeside_signs_frame_seconds",
            "From a frame's arrival to its detection.",
            buckets=_LATENCY_BUCKETS,
            registry=register,
        )
        self.signs_translated = Counter(
            "homeside_signs_translations", "Sequences translated, by whom.", ["by"], registry=register
        )
        self.signs_refused = Counter(
            "homeside_signs_refused", "Messages and requests answered with an error.", ["code"], registry=register
        )

        self.video_viewers = Gauge(
            "homeside_video_viewers", "Viewers of video, connecting or connected.", registry=register
        )
        self.video_publications = Gauge("homeside_video_publications", "Cameras sending now.", registry=register)
        self.video_handed = Gauge(
            "homeside_video_handed", "Cameras handed on to a media server now.", registry=register
        )
        self.video_relayed = Gauge(
            "homeside_video_relayed", "Cameras shown here that send to another relay.", registry=register
        )
        self.video_packets = Counter(
            "homeside_video_packets",
            "Media packets, by direction: in from cameras, out to viewers.",
            ["way"],
            registry=register,
        )
        self.video_repaired = Counter(
            "homeside_video_repaired_packets", "Packets sent again to viewers.", registry=register
        )
        self.video_skipped = Counter(
            "homeside_video_skips", "Times a slow viewer was skipped to the next keyframe.", registry=register
        )
        self.video_keyframe_requests = Counter(
            "homeside_video_keyframe_requests", "Keyframes asked of cameras.", registry=register
        )
        self.video_offers = Counter(
            "homeside_video_offers", "Offers answered, by outcome.", ["outcome"], registry=register
        )
        self.video_answer_seconds = Histogram(
            "homeside_video_answer_seconds", "Time an offer's answer took.", buckets=_LATENCY_BUCKETS, registry=register
        )

        self.tasks = Gauge("homeside_tasks", "Tasks of the relay's event loop that have not ended.", registry=register)

    def exposition(self) -> bytes:
        """The text format Prometheus reads."""
        return generate_latest(self.registry)
