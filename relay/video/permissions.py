"""Who may watch, send, stop and record, decided from the caller and the camera. Knows neither HTTP nor RTP."""

from __future__ import annotations

from relay.auth import Principal, Role
from relay.entrance.access import STAFF
from relay.errors import Forbidden
from relay.video.publication import Publication
from relay.video.service import Sent
from relay.video.viewers import Viewers


def must_be_staff(who: Principal) -> None:
    if who.role not in STAFF:
        raise Forbidden("Only staff record, and see what was recorded.")


def watches(who: Principal, publication: Publication | Sent) -> bool:
    """Staff may watch every camera, a kit its own, a link the camera of its session; files are open to every caller."""
    if who.role in STAFF or not publication.kit:
        return True
    if who.role is Role.KIT:
        return who.subject == publication.kit
    return who.session is not None and who.session == publication.session


def bound_to(who: Principal) -> str | None:
    """The only session whose camera the caller may watch; None for those who are not restricted to one."""
    return None if who.role in STAFF else who.session


def may_watch(who: Principal, publication: Publication) -> None:
    if not watches(who, publication):
        raise Forbidden("This link is not for this camera. Ask the patient or the kit's owner for one that is.")


def may_publish(who: Principal, kit: str) -> None:
    if who.role is Role.ADMIN or (who.role is Role.KIT and who.subject == kit):
        return
    raise Forbidden(
        f"Only kit {kit} itself sends its camera. Use its own token (homeside token --role kit --name {kit})."
    )


def own(who: Principal) -> str | None:
    """The only subject whose viewer sessions the caller sees; None for staff, who see all."""
    return None if who.role in STAFF else who.subject


def may_end(who: Principal, viewers: Viewers, session: str) -> None:
    if session not in viewers.sessions(own(who)):
        viewers.session(session[:64])
        raise Forbidden("This session is somebody else's.")
