"""Where the API server is and who we are there; the only module that imports `kubernetes`."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from provider.errors import AccessInvalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every pod finds its token and the cluster's CA."""

# client-go reads a token file again after a minute (transport/token_source.go).
_REFRESH_SECONDS = 60.0
# An exec plugin may open a browser, but nobody sits beside a controller.
_PLUGIN_SECONDS = 30.0
_LIBRARY_LOGGER = logging.getLogger("kubernetes.aio.config.kube_config")


class Access:
    """Address, TLS and credentials of one API server; made by `load_access`."""

    def __init__(
        self, source: _Kubeconfig | _ServiceAccount, configuration: Configuration
    ) -> None:
        self._source = source
        self._renewing = asyncio.Lock()
        self._read = 0.0
        self._take(configuration)

    @property
    def url(self) -> str:
        """Scheme, host, port and path prefix, without a slash at the end."""
        return str(self._configuration.host).rstrip("/")

    @property
    def server_name(self) -> str | None:
        """The name to ask for and to find in the certificate; None for the one in the URL."""
        return self._configuration.tls_server_name

    @property
    def proxy(self) -> str | None:
        """The URL of the HTTP proxy: the kubeconfig's, else the environment's."""
        return self._proxy

    @property
    def ssl(self) -> ssl.SSLContext:
        """How to check the server, and the client certificate if there is one."""
        return self._ssl

    async def headers(self) -> dict[str, str]:
        """The headers that say who we are, read at most a minute ago.

        AccessInvalid when they cannot be read now.
        """
        now = asyncio.get_running_loop().time()
        if now - self._read >= _REFRESH_SECONDS:
            self._read = now
            with _explained(self._source.name, self._source.remedy):
                await self._source.refresh(self._configuration)
        value = self._configuration.api_key.get("BearerToken")
        # A token file may end with a newline, which is refused in a header.
        return {"Authorization": value.strip()} if value else {}

    async def renew(self, refused: dict[str, str]) -> None:
        """Read everything anew after a 401 to the headers `refused`.

        Of many requests that were refused at once only the first does it. AccessInvalid when it
        is impossible.
        """
        async with self._renewing:
            if await self.headers() == refused:
                self._take(await _load(self._source))

    def _take(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._ssl = _ssl_context(configuration, self._source)
        # Looking through the environment costs a millisecond, more than all else of a request.
        self._proxy = configuration.proxy or _environment_proxy(self.url)
        self._read = asyncio.get_running_loop().time()


async def load_access(kubeconfig: Path | None) -> Access:
    """The access that `kubeconfig` describes in its current context; None is the pod we run in.

    Certificates, tokens, token files, exec plugins, OIDC and proxies work as in kubectl.
    AccessInvalid, with its remedy, when it cannot be used.
    """
    if kubeconfig:
        return await _access(_Kubeconfig(kubeconfig))
    return await service_account_access(SERVICE_ACCOUNT)


async def service_account_access(directory: Path) -> Access:
    """The access of a pod whose service account is mounted at `directory`."""
    return await _access(_ServiceAccount(directory))


async def _access(source: _Kubeconfig | _ServiceAccount) -> Access:
    return Access(source, await _load(source))


async def _load(source: _Kubeconfig | _ServiceAccount) -> Configuration:
    configuration = Configuration()
    with _explained(source.name, source.remedy):
        await source.load(configuration)
    return configuration


class _ServiceAccount:
    """What a pod is given."""

    name = "the pod's service account"
    remedy = "Run it in a pod with automountServiceAccountToken, or give --kubeconfig."

    def __init__(self, directory: Path) -> None:
        self._loader: Any = InClusterConfigLoader(  # type: ignore[no-untyped-call]
            token_filename=str(directory / "token"),
            cert_filename=str(directory / "ca.crt"),
            # The library would read by the wall clock; `headers` does it by the loop's.
            try_refresh_token=False,
        )

    async def load(self, configuration: Configuration) -> None:
        """Fill in address, CA and token."""
        self._loader.load_and_set(configuration)

    async def refresh(self, configuration: Configuration) -> None:
        """Read the token again: the kubelet renews it in place."""
        self._loader.load_and_set(configuration)


class _Kubeconfig:
    """A kubeconfig file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._refresh: Callable[[Configuration], Awaitable[None]] = _nothing
        self.name = f"the kubeconfig {path}"
        self.remedy = "`kubectl --kubeconfig FILE version` must work with it."

    async def load(self, configuration: Configuration) -> None:
        """Fill in what the current context says; runs its exec plugin."""
        if not self._path.is_file():
            raise ConfigException("There is no such file.")
        async with asyncio.timeout(_PLUGIN_SECONDS):
            # persist_config would write the file back at once.
            loader = await load_kube_config(  # type: ignore[no-untyped-call]
                str(self._path), client_configuration=configuration, persist_config=False
            )
        self._refresh = loader.load_and_set

    async def refresh(self, configuration: Configuration) -> None:
        """Read a token file again, or ask the plugin when its credential is about to expire."""
        async with asyncio.timeout(_PLUGIN_SECONDS):
            await self._refresh(configuration)


async def _nothing(_configuration: Configuration) -> None:
    pass


@contextmanager
def _explained(name: str, remedy: str) -> Iterator[None]:
    """Raises what goes wrong inside as AccessInvalid, also what the library only logs.

    It logs the failure of an exec plugin and goes on as system:anonymous.
    """
    complaints = _Complaints(logging.ERROR)
    _LIBRARY_LOGGER.addHandler(complaints)
    try:
        yield
        if complaints.messages:
            raise ConfigException("; ".join(complaints.messages))
    except TimeoutError as error:
        message = f"{name} cannot be used: no credentials within {_PLUGIN_SECONDS:.0f} s."
        raise AccessInvalid(message, remedy=remedy) from error
    except Exception as error:
        # The library lets through whatever a strange file makes YAML, base64 and dict raise.
        message = f"{name} cannot be used: {' '.join(str(error).split()).rstrip('.')}."
        raise AccessInvalid(message, remedy=remedy) from error
    finally:
        _LIBRARY_LOGGER.removeHandler(complaints)


class _Complaints(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.messages.append(record.getMessage())


def _ssl_context(configuration: Any, source: _Kubeconfig | _ServiceAccount) -> ssl.SSLContext:
    with _explained(source.name, source.remedy):
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _environment_proxy(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for `url`, as in client-go."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies_environment().get(parts.scheme)
