"""What can go wrong when a running controller is asked, and what to do about it."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from provider.errors import ProviderError
from provider.web.documents import ProblemDocument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.commands.server import Server

HOW_TO_GET_ONE = (
    "`kubectl create token NAME -n NAMESPACE > FILE` writes one of a service account:"
    " give it with --token-file FILE."
)
_READER = "Its user needs the ClusterRole of manifests/lookup-reader.yaml: README, Ask it."
_SERVICE = "service/ovirt-cloud-controller-manager"
_PROBLEM = "application/problem+json"
# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_OTHER_NAME = frozenset({62, 64})
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


class ServerError(ProviderError):
    """The controller could not be asked, or its answer is an error; `status` is the answer's."""

    def __init__(self, message: str, *, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


def token_unusable(whose: str) -> ServerError:
    """Somebody is known to the API server by a certificate, which nobody else can check."""
    message = f"{whose} has no token: a client certificate is taken by the API server only."
    return ServerError(message, remedy=HOW_TO_GET_ONE)


# ---- no answer -------------------------------------------------------------------------------


def unreachable(server: Server, error: Exception) -> ServerError:
    """Why no answer came."""
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLError() as why):
            return _untrusted(server, why)
        case aiohttp.ClientConnectorSSLError():
            remedy = "Does it serve plain HTTP (`run --insecure-http`)? Then use http://."
            return ServerError(f"{server.url} does not speak TLS.", remedy=remedy)
        case aiohttp.ClientConnectorError(os_error=os_error):
            remedy = (
                "Is it at work, and does server.bind listen there? From outside the cluster:"
                f" `kubectl -n kube-system port-forward {_SERVICE} 10258`."
            )
            return ServerError(f"cannot connect to {server.url}: {_why(os_error)}.", remedy=remedy)
        case TimeoutError():
            return ServerError(f"{server.url} gave no answer in time.")
    remedy = "" if server.is_secure else "A controller that serves HTTPS does so: use https://."
    return ServerError(f"{server.url} ended the connection: {error}.", remedy=remedy)


def _why(error: OSError) -> str:
    """The system's words; asyncio's repeat the address."""
    code = error.errno or 0  # below 0 when a name does not resolve
    return os.strerror(code) if code > 0 else error.strerror or str(error)


def _untrusted(server: Server, error: ssl.SSLError) -> ServerError:
    code = getattr(error, "verify_code", 0)
    why = getattr(error, "verify_message", str(error)).rstrip(".")
    message = f"the certificate of {server.url} is not trusted: {why}."
    if code in _OTHER_NAME:
        remedy = "Ask it by a name that is in its certificate, or say with --server-name which."
    elif code == _EXPIRED:
        remedy = "Renew server.certificate_file; the controller takes it without a restart."
    else:
        remedy = (
            "Give the CA that signed it with --server-ca FILE. One that the controller made itself"
            " (no server.certificate_file) cannot be checked: --insecure-skip-tls-verify."
        )
    return ServerError(message, remedy=remedy)


# ---- an answer that is an error --------------------------------------------------------------


def unwelcome(server: Server, status: int, headers: Mapping[str, str], body: bytes) -> ServerError:
    """What an answer with this status means."""
    problem = _problem(headers, body)
    if problem is None:
        message = f"{server.url} answers {status}, and not as a controller does."
        return ServerError(message, remedy="Does --server name another program?", status=status)
    message = _sentence(problem.detail or problem.title)
    return ServerError(message, remedy=_remedy(server, status, problem), status=status)


def _problem(headers: Mapping[str, str], body: bytes) -> ProblemDocument | None:
    if not headers.get("Content-Type", "").startswith(_PROBLEM):
        return None
    try:
        return msgspec.json.decode(body, type=ProblemDocument)
    except msgspec.DecodeError:
        return None


def _remedy(server: Server, status: int, problem: ProblemDocument) -> str:
    match status:
        case 401:
            whose = server.token_file or server.kubeconfig or "the pod"
            return f"The token of {whose} is refused: is it of this cluster, and not expired?"
        case 403:
            return _READER
        case 409:
            lines = (f"  {one.engine}  {one.id}  {one.name}" for one in problem.candidates)
            return "\n".join(("It may mean:", *lines))
    return f"Try again in {problem.retry_after} s." if problem.retry_after else ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
