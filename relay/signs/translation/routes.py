"""Translation, and what a session said before: the REST endpoints of port 8002."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from core.contracts.signs import MAX_ID, Cleared, Context, Exchange, TranslationRequest, TranslationResponse
from relay.entrance.access import Access
from relay.signs.translation.service import TranslationService

# An id with a slash in it travels percent-encoded, and servers decode before they route.
SessionId = Annotated[str, Path(min_length=1, max_length=MAX_ID)]


def routes(service: TranslationService, access: Access) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["translation"])

    @router.post(
        "/translate",
        response_model=TranslationResponse,
        response_model_exclude_none=True,
        summary="Letters to a sentence",
    )
    async def translate(request: Request, wanted: TranslationRequest) -> TranslationResponse:
        """Translate spelled letters to a sentence. Without a language model, or if it fails, the offline speller
        answers.
        """
        who = access.principal(request)
        access.may_measure(who, wanted.session_id)
        return await service.translate(
            wanted.sign_sequence,
            wanted.session_id,
            before=wanted.context,
            language=wanted.language,
            owner=access.reach(who),
        )

    @router.get("/context/{session_id:path}", response_model=Context, summary="What a session said")
    async def context(request: Request, session_id: SessionId) -> Context:
        """What a session said before, oldest first; `context` is the latest sentence."""
        found = await service.context(session_id, access.reach(access.principal(request)))
        past = list(found.past)
        history = [Exchange(signs=signs, translation=text) for signs, text in past]
        return Context(session_id=session_id, context=past[-1][1] if past else "", history=history)

    @router.delete("/context/{session_id:path}", response_model=Cleared, summary="Forget a session")
    async def clear(request: Request, session_id: SessionId) -> Cleared:
        """Forget what a session said."""
        await service.clear(session_id, access.reach(access.principal(request)))
        return Cleared(session_id=session_id)

    return router
