"""The invitation of a kit: from a TOML file (such as the one on an image's boot partition), overridden by options."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agent.errors import SettingsError
from agent.identity.enrol import Invitation
from core.contracts.errors import ContractError
from core.contracts.identity import CODE_LENGTH, claimable, plain_code, plain_fingerprint


class InvitationFile(BaseModel):
    """The file's keys; `homeside claims make --file` and image building write it."""

    model_config = ConfigDict(extra="forbid")

    kit: str = Field(description="The name the claim was made for.")
    relay: str = Field(description="The relay, https://host:port.")
    claim: str = Field(description="The claim's code.")
    fingerprint: str = Field("", description="SHA-256 of the relay's root; empty trusts the system's authorities.")

    @field_validator("kit")
    @classmethod
    def _a_kit(cls, kit: str) -> str:
        if not claimable(kit):
            raise ValueError(f"{kit!r} is no kit's name")
        return kit

    @field_validator("claim")
    @classmethod
    def _a_code(cls, claim: str) -> str:
        if len(plain_code(claim)) != CODE_LENGTH:
            raise ValueError(f"a claim's code has {CODE_LENGTH} letters and digits")
        return plain_code(claim)

    @field_validator("fingerprint")
    @classmethod
    def _a_fingerprint(cls, text: str) -> str:
        try:
            return plain_fingerprint(text) if text else ""
        except ContractError as error:
            raise ValueError(str(error)) from None


def read_invitation(file: Path | None, options: dict[str, Any]) -> Invitation:
    """Raises SettingsError, which says what is missing or wrong and never repeats the claim."""
    try:
        said = tomllib.loads(file.read_text("utf-8")) if file is not None else {}
        whole = InvitationFile.model_validate({**said, **options})
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise SettingsError(f"{file} is not TOML") from None
    except ValidationError as error:
        wrong = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        raise SettingsError("; ".join(f"{name}: {text}" for name, text in wrong)) from None
    return Invitation(whole.kit, whole.relay, whole.claim, whole.fingerprint)
