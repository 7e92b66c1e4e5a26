"""The tables of kits' identities. Claims are stored as digests; certificates are public and stored whole."""

from __future__ import annotations

import sqlalchemy as sa

from relay.db.models import metadata
from relay.db.physio import Moment

claims = sa.Table(
    "identity_claims",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True, comment="SHA-256 of the code"),
    sa.Column("kit", sa.String(64), nullable=False),
    sa.Column("made_at", Moment, nullable=False),
    sa.Column("made_by", sa.String(256), nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("withdrawn_at", Moment),
    sa.Column("spent_at", Moment),
    sa.Column("serial", sa.String(40), comment="the certificate it was spent for"),
    sa.Index("ix_identity_claims_kit", "kit"),
)

kits = sa.Table(
    "identity_kits",
    metadata,
    sa.Column("kit", sa.String(64), primary_key=True),
    sa.Column("enrolled_at", Moment, nullable=False),
    sa.Column("tokens_since", Moment, comment="of a kit enrolled anew: older tokens are worth nothing"),
    sa.Column("revoked_at", Moment),
    sa.Column("revoked_why", sa.String(256)),
    sa.Index("ix_identity_kits_revoked_at", "revoked_at"),
)

certificates = sa.Table(
    "identity_certificates",
    metadata,
    sa.Column("serial", sa.String(40), primary_key=True, comment="hexadecimal"),
    sa.Column("kit", sa.String(64), nullable=False),
    sa.Column("key", sa.String(64), nullable=False, comment="SHA-256 of the public key"),
    sa.Column("not_before", Moment, nullable=False),
    sa.Column("not_after", Moment, nullable=False),
    sa.Column("pem", sa.Text, nullable=False),
    sa.Column("revoked_at", Moment),
    sa.Index("ix_identity_certificates_kit", "kit"),
    sa.Index("ix_identity_certificates_revoked_at", "revoked_at"),
)

audit = sa.Table(
    "identity_audit",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("what", sa.String(32), nullable=False),
    sa.Column("kit", sa.String(64)),
    sa.Column("who", sa.String(256), nullable=False, comment="role and subject, command, or kit"),
    sa.Column("address", sa.String(64)),
    sa.Column("detail", sa.String(512), nullable=False, server_default=""),
    sa.Index("ix_identity_audit_kit", "kit"),
)
