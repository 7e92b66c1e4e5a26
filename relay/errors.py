"""All errors of the relay, as one tree. Each API turns them into its own error body and status.

RelayError
├── SettingsError         the relay cannot start with these settings
├── PortBusy              another program has the port
├── Unauthorized          no token, or an invalid one                     (401)
├── Forbidden             a valid token that does not permit this         (403)
├── SessionNotFound       no session with this id                         (404)
├── NotFound              nothing with this id that the caller may see    (404)
├── ConsentMissing        the patient has not agreed to being recorded    (403)
├── Conflict              contradicts the stored version, turn or id      (409)
├── TooLarge              a body that exceeds its limit                   (413)
├── BadOffer              an SDP that cannot be answered                  (400)
├── SourceMissing         the requested video does not exist (as documented) (500)
├── TooMany               more requests than the rate limit allows        (429, retryable)
├── SessionTaken          the session already has another patient         (409)
├── StoreUnavailable      the database does not answer; try again         (503, retryable)
├── Unstorable            something the database cannot keep, such as NUL in text (400)
├── LeaseLost             a task that one relay does is another's now     (409)
├── Full                  every place is taken; try again                 (503, retryable)
├── NotAllowed            the session's present state does not allow it   (400)
├── ParticipantNotFound   no participant with this id in the session      (404)
├── ClaimRefused          unknown, expired, withdrawn or used by another  (403)
├── CsrRefused            a certificate request that is not acceptable    (400)
├── IdentityRefused       a kit that is revoked, or cannot prove its key  (403)
├── InvalidSignSequence   nothing spelled, or something that is not a sign (400)
├── InvalidLanguage       a language the speller does not know            (400)
├── InvalidSession        no conversation with this id                    (404)
├── InvalidImage          a frame that is not a picture, or is too large  (400)
├── VideoRefused          a video that may not or cannot be read          (400)
├── DetectorMissing       no hand detector runs here                      (503, retryable)
├── LlmTimeout            the language model did not answer in time       (504, retryable)
├── LlmRateLimit          the language model's limit is reached           (429, retryable)
└── LlmFailed             the language model answered with an error       (502)
"""

from __future__ import annotations

from typing import ClassVar


class RelayError(Exception):
    """`code` and `status` are for programs; the text is for people and says what to do."""

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False


class SettingsError(RelayError):
    code = "SETTINGS"


class PortBusy(RelayError):
    code = "PORT_BUSY"


class Unauthorized(RelayError):
    code = "UNAUTHORIZED"
    status = 401


class Forbidden(RelayError):
    code = "FORBIDDEN"
    status = 403


class SessionNotFound(RelayError):
    code = "SESSION_NOT_FOUND"
    status = 404


class SessionTaken(RelayError):
    code = "SESSION_HAS_PATIENT"
    status = 409


class StoreUnavailable(RelayError):
    code = "STORE_UNAVAILABLE"
    status = 503
    retryable = True


class Unstorable(RelayError):
    code = "VALIDATION_ERROR"
    status = 400


class LeaseLost(RelayError):
    code = "LEASE_LOST"
    status = 409


class Full(RelayError):
    code = "RELAY_FULL"
    status = 503
    retryable = True


class NotAllowed(RelayError):
    code = "INVALID_STATE_TRANSITION"
    status = 400


class ParticipantNotFound(RelayError):
    code = "PARTICIPANT_NOT_FOUND"
    status = 404


class NotFound(RelayError):
    code = "NOT_FOUND"
    status = 404


class ConsentMissing(RelayError):
    code = "CONSENT_REQUIRED"
    status = 403


class Conflict(RelayError):
    code = "CONFLICT"
    status = 409


class BadOffer(RelayError):
    code = "BAD_OFFER"
    status = 400


class SourceMissing(RelayError):
    code = "VIDEO_NOT_FOUND"
    status = 500


class TooLarge(RelayError):
    code = "PAYLOAD_TOO_LARGE"
    status = 413


class TooMany(RelayError):
    """`retry_after_s`: whole seconds until another request will be accepted."""

    code = "RATE_LIMIT_EXCEEDED"
    status = 429
    retryable = True

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class ClaimRefused(RelayError):
    code = "CLAIM_REFUSED"
    status = 403


class CsrRefused(RelayError):
    code = "CSR_REFUSED"
    status = 400


class IdentityRefused(RelayError):
    code = "IDENTITY_REFUSED"
    status = 403


class InvalidSignSequence(RelayError):
    code = "INVALID_SIGN_SEQUENCE"
    status = 400


class InvalidLanguage(RelayError):
    code = "INVALID_LANGUAGE"
    status = 400


class InvalidSession(RelayError):
    code = "INVALID_SESSION"
    status = 404


class InvalidImage(RelayError):
    code = "INVALID_IMAGE"
    status = 400


class VideoRefused(RelayError):
    code = "VIDEO_REFUSED"
    status = 400


class DetectorMissing(RelayError):
    code = "SERVICE_UNAVAILABLE"
    status = 503
    retryable = True


class LlmTimeout(RelayError):
    code = "LLM_TIMEOUT"
    status = 504
    retryable = True


class LlmRateLimit(TooMany):
    code = "LLM_RATE_LIMIT"


class LlmFailed(RelayError):
    """`again` says whether a retry may help."""

    code = "LLM_FAILED"
    status = 502

    def __init__(self, text: str, *, again: bool) -> None:
        super().__init__(text)
        self.again = again


def reason(error: BaseException) -> str:
    """The first line of a store's error message, or the error's class name if it has none (as a timeout)."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
