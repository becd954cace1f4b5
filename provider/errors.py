"""The errors of the program.

Absence is a value, ignorance is an error: whatever stands here means that something could not be
done or asked, never that a thing does not exist.

    ProviderError
    ├── ConfigError                 the configuration is wrong
    ├── LeaseLost                   another may lead now: this process must end
    ├── EngineError                 an engine could not be asked; carries the engine's name
    │   ├── EngineUnavailable       no usable answer: network, time-out, HTML page, ill database
    │   ├── EngineUntrusted         its certificate is not trusted
    │   ├── LoginRefused            it refuses the user or the password
    │   ├── PermissionMissing       the account may not see what is needed
    │   ├── ReplyUnusable           an answer that cannot be understood
    │   ├── SelectionInvalid        it refuses the search, or the tag does not exist
    │   └── ListingImplausible      a listing that must not be taken for the truth
    └── KubeError                   the API server could not be asked or did not do it
        ├── AccessInvalid           nothing usable says where it is or who we are
        ├── ApiUnavailable          no usable answer to a read, or none was sent
        │   └── NotLeading              a write was not sent: the lease ends too soon
        ├── OutcomeUnknown          a write that may or may not have been done: read again
        ├── Conflict                409: a newer object is on its way
        ├── NotFound                404
        ├── Gone                    410: list again
        ├── Forbidden               401 or 403
        ├── Invalid                 422 or 400: the API server refuses the content
        └── TooManyRequests         429: wait `retry_after` seconds
"""

from __future__ import annotations


class ProviderError(Exception):
    """An error of this program: `message` says what happened, `remedy` what to do about it."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


class ConfigError(ProviderError):
    """The configuration is wrong; `problems` has one line for each fault, with its path."""

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{source} is not a valid configuration:{lines}")
        self.problems = problems


class LeaseLost(ProviderError):
    """The lease could not be kept: another may lead now, and this process must end."""


class EngineError(ProviderError):
    """An engine could not be asked or its answer proves nothing."""

    def __init__(self, engine: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"engine {engine}: {message}", remedy=remedy)
        self.engine = engine


class EngineUnavailable(EngineError):
    """The engine gives no usable answer now; it will by itself."""


class EngineUntrusted(EngineError):
    """The engine's certificate is not trusted."""


class LoginRefused(EngineError):
    """The engine refuses the user or the password: trying again soon locks the account."""


class PermissionMissing(EngineError):
    """The account may not see or do what is needed."""


class ReplyUnusable(EngineError):
    """The engine's answer cannot be understood."""


class SelectionInvalid(EngineError):
    """The selection cannot be asked: the tag does not exist or the search is refused."""


class ListingImplausible(EngineError):
    """A listing is incomplete or contradicts itself: nothing may be concluded from it."""


class KubeError(ProviderError):
    """The API server could not be asked, or refuses."""


class AccessInvalid(KubeError):
    """The kubeconfig or the pod's service account cannot be used."""


class ApiUnavailable(KubeError):
    """The API server gives no usable answer now."""


class NotLeading(ApiUnavailable):
    """A write was not sent, as another may lead before it would be done."""


class OutcomeUnknown(KubeError):
    """A write was sent and no answer came: it may have been done."""


class Conflict(KubeError):
    """The object has changed since it was read, or exists already."""


class NotFound(KubeError):
    """The object does not exist."""


class Gone(KubeError):
    """The resource version is too old: list again."""


class Forbidden(KubeError):
    """The API server refuses the user or the right."""


class Invalid(KubeError):
    """The API server refuses the content."""


class TooManyRequests(KubeError):
    """The API server asks to wait `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
