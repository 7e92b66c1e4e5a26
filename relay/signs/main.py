"""Construction of the fingerspelling API: letter model, hand detectors, translation, videos, and the interface
to kits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import core.fingerspelling
from core.contracts.signs import HealthResponse
from core.fingerspelling.letters import WEIGHTS_FILE, Network
from core.fingerspelling.speller import Speller
from relay.cluster.contexts import SharedPasts
from relay.ground import Ground, Part, Root
from relay.signs import gateway as kits
from relay.signs.batch.gateway import Fetcher
from relay.signs.batch.routes import routes as batch_routes
from relay.signs.batch.service import BatchService
from relay.signs.calibration import Calibrations
from relay.signs.detection.lookout import Detector, Lookout
from relay.signs.detection.routes import routes as detection_routes
from relay.signs.detection.service import Shared, SigningService
from relay.signs.routes import application
from relay.signs.store import SignStore
from relay.signs.translation.gateway import Gemini, frequencies
from relay.signs.translation.pasts import Memory, Pasts
from relay.signs.translation.routes import routes as translation_routes
from relay.signs.translation.service import TranslationService


def open_signs(ground: Ground, detector: Callable[[], Detector], lacking: Callable[[], str | None]) -> Part:
    """`detector` creates one hand detector, in a thread, and may raise DetectorMissing; `lacking` tells beforehand what
    is missing (None if nothing is).
    """
    chosen, access, metrics = ground.settings.signs, ground.access, ground.metrics
    network = Network.unpack((Path(core.fingerspelling.__path__[0]) / WEIGHTS_FILE).read_bytes())
    store = SignStore(ground.engine)
    translation = TranslationService(_spellers(network), _model(ground), metrics, _pasts(ground))
    lookout = Lookout(detector, lacking, chosen.detectors, metrics)
    calibrations = Calibrations(store, network)
    signing = SigningService(
        Shared(lookout, translation, network, calibrations.reader, metrics), most_clients=chosen.clients
    )
    fetcher = Fetcher(chosen.batch_hosts, chosen.batch_bytes, chosen.batch_fetch_s)
    batch = BatchService(
        fetcher,
        lookout,
        network,
        translation,
        ground.settings.data / "videos-to-read",
        most_waiting=chosen.batch_jobs,
        most_minutes=chosen.batch_minutes,
    )
    ground.kits.answer(kits.TYPES, kits.KitSigns(signing, store).take)
    routers = [
        detection_routes(signing, access, metrics),
        translation_routes(translation, access),
        batch_routes(batch, lookout, access, chosen.batch_bytes),
    ]
    return Part(
        "signs",
        application(routers, calibrations, lambda: health(lookout, translation), access, metrics),
        root=Root.SIGNS,
        also=(Root.TRANSLATE, Root.SCG),
        openable=True,
        duties={"hands": lookout.open_for_ever, "batch": batch.run},
    )


def health(lookout: Lookout, translation: TranslationService) -> HealthResponse:
    """`healthy` if everything works, `degraded` if one part is down, `unhealthy` if neither detection nor translation
    works.
    """
    reasons = {}
    if lookout.problem is not None:
        reasons["media_pipe"] = lookout.problem
    if translation.failing is not None:
        reasons["llm"] = translation.failing
    return HealthResponse(
        status=("healthy", "degraded", "unhealthy")[len(reasons)],
        timestamp=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        services={
            "api_gateway": "up",
            "media_pipe": "down" if "media_pipe" in reasons else "up",
            "llm": "down" if "llm" in reasons else "up",
        },
        reasons=reasons or None,
    )


def _pasts(ground: Ground) -> Pasts:
    own = Memory(ground.metrics)
    cluster = ground.cluster
    return SharedPasts(cluster.link, own, ground.settings.cluster.replicas) if cluster is not None else own


def _model(ground: Ground) -> Gemini | None:
    chosen = ground.settings.signs
    if not chosen.gemini_key:
        return None
    return Gemini(chosen.gemini_key, chosen.gemini_model, chosen.gemini_timeout_s, chosen.gemini_url)


def _spellers(network: Network) -> Callable[[str], tuple[Speller, Mapping[str, str]]]:
    misread = network.facts.get("misread", {})

    def load(language: str) -> tuple[Speller, Mapping[str, str]]:
        shares, written = frequencies(language)
        return Speller(shares, misread), written

    return load
