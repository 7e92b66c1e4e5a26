"""Every table of the relay, once. Migrations make them; stores read and write them by these names."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

BEFORE = date(1900, 1, 1)
"""The month of what was stored before there were months, and of everything in SQLite, which keeps one table."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

scg_sessions = sa.Table(
    "scg_sessions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("started_at_ms", sa.Float(53), nullable=False),
    sa.Column("ended_at_ms", sa.Float(53)),
    sa.Column("kit", sa.String(64), comment="the kit that owns it; null for a browser's"),
    sa.Column("user_agent", sa.Text, nullable=False, server_default=""),
    sa.Column("platform", sa.Text, nullable=False, server_default=""),
    sa.Column("unit", sa.String(16), nullable=False, server_default="m/s2"),
    sa.Column("sensor", sa.JSON, comment="name, kind, rateHz, rangeG as the kit said"),
    sa.Column("thinned_hz", sa.Float(53), comment="rate that retention brought it down to; null as it was sent"),
    sa.Column("month", sa.Date, nullable=False, server_default=str(BEFORE), comment="relay.db.months; never changes"),
)

scg_holds = sa.Table(
    "scg_holds",
    metadata,
    sa.Column("session_id", sa.ForeignKey("scg_sessions.id"), primary_key=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at_ms", sa.Float(53), nullable=False),
)

scg_chunks = sa.Table(
    "scg_chunks",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("session_id", sa.ForeignKey("scg_sessions.id", ondelete="CASCADE"), nullable=False),
    sa.Column("boot", sa.String(64), comment="run of the sender; null when it numbers nothing"),
    sa.Column("first_seq", sa.BigInteger),
    sa.Column("seqs", sa.JSON, comment="inclusive ranges of the messages inside"),
    sa.Column("samples", sa.Integer, nullable=False),
    sa.Column("t_min", sa.Float(53), nullable=False),
    sa.Column("t_max", sa.Float(53), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False, comment="relay.scg.chunks"),
    sa.Column(
        "clock",
        sa.JSON,
        comment="[seq, errorMs, tick, arrivalNs, tickNs, offsetNs, packets] each",
    ),
    sa.Column("month", sa.Date, nullable=False, server_default=str(BEFORE), comment="its session's; relay.db.months"),
    sa.UniqueConstraint("session_id", "boot", "first_seq"),
    sa.Index("ix_scg_chunks_session_id_t_min", "session_id", "t_min"),
)
small_chunk = scg_chunks.c.samples < 3000
sa.Index("ix_scg_chunks_small", scg_chunks.c.session_id, sqlite_where=small_chunk, postgresql_where=small_chunk)

scg_received = sa.Table(
    "scg_received",
    metadata,
    sa.Column("session_id", sa.ForeignKey("scg_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("boot", sa.String(64), primary_key=True),
    sa.Column("seqs", sa.JSON, nullable=False, comment="inclusive ranges of every message stored"),
)

timer_sessions = sa.Table(
    "timer_sessions",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False, comment="relay.timers.states.State as JSON"),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="0", comment="of a cluster: +1 a write"),
    sa.Column("due_ms", sa.BigInteger, comment="of a cluster: when something happens by itself next"),
    sa.Index("ix_timer_sessions_status", "status"),
    sa.Index("ix_timer_sessions_due_ms", "due_ms"),
)

timer_audit = sa.Table(
    "timer_audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("session_id", sa.String(128), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("who", sa.String(256), nullable=False, comment="role and subject of the token"),
    sa.Column("participant_id", sa.String(128), nullable=False),
    sa.Column("before_ms", sa.BigInteger, nullable=False),
    sa.Column("after_ms", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Index("ix_timer_audit_session_id", "session_id"),
)

timer_clock = sa.Table(
    "timer_clock",
    metadata,
    sa.Column("boot_id", sa.String(64), primary_key=True),
    sa.Column("anchor_ns", sa.BigInteger, nullable=False, comment="epoch minus monotonic, of the steady timescale"),
)

sign_calibrations = sa.Table(
    "sign_calibrations",
    metadata,
    sa.Column("owner", sa.String(256), primary_key=True, comment="who keeps it; empty for staff and loopback"),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("hands", sa.LargeBinary, nullable=False, comment="float16[n, 21, 3], core.fingerspelling.hand.normalise"),
    sa.Column("labels", sa.LargeBinary, nullable=False, comment="uint8[n], index of the letter"),
    sa.Column("has_z", sa.Boolean, nullable=False),
)

sign_messages = sa.Table(
    "sign_messages",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("kit", sa.String(64), nullable=False),
    sa.Column("session_id", sa.String(128), nullable=False),
    sa.Column("boot", sa.String(64), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False, comment="the message's payload, core.contracts.signs.KitLetters"),
    sa.UniqueConstraint("session_id", "boot", "seq"),
)

cluster_leases = sa.Table(
    "cluster_leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False, comment="the relay's name"),
    sa.Column("term", sa.BigInteger, nullable=False, comment="+1 a holder; fences what it writes"),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="by the database's clock"),
)
