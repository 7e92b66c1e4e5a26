"""The fleet's tables: kits, what they report and run, releases, rollouts, diagnostics, and the audit of requests."""

from __future__ import annotations

import sqlalchemy as sa

from relay.db.models import metadata

_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")

fleet_kits = sa.Table(
    "fleet_kits",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("body", sa.Text, nullable=False, comment="relay.fleet.rules.Kit as JSON: what it is to have"),
    sa.Column("told", sa.Text, comment="relay.fleet.rules.Told as JSON: what it said; null before it said anything"),
)

fleet_packages = sa.Table(
    "fleet_packages",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True, comment="of the whole list; kits that run the same share it"),
    sa.Column("body", sa.Text, nullable=False, comment="name to version, as JSON"),
)

fleet_releases = sa.Table(
    "fleet_releases",
    metadata,
    sa.Column("version", sa.String(40), primary_key=True),
    sa.Column("machine", sa.String(40), primary_key=True, comment="what it runs on; empty for anywhere"),
    sa.Column("body", sa.Text, nullable=False, comment="relay.fleet.rules.Release as JSON"),
)

fleet_rollouts = sa.Table(
    "fleet_rollouts",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("body", sa.Text, nullable=False, comment="relay.fleet.rules.Rollout as JSON"),
)

fleet_diagnostics = sa.Table(
    "fleet_diagnostics",
    metadata,
    sa.Column("kit", sa.String(64), primary_key=True),
    sa.Column("request", sa.String(64), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

fleet_audit = sa.Table(
    "fleet_audit",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("who", sa.String(256), nullable=False),
    sa.Column("kit", sa.String(64), comment="null for what concerns no single kit"),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("ix_fleet_audit_kit", "kit"),
)
