"""Where the API server is and who we are there; the only module that imports `kubernetes`."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from provider.errors import AccessInvalid
from provider.reload import Reload, stamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from provider.reload import Stamp

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every pod finds its token and the cluster's CA."""

# client-go reads a token file again after a minute (transport/token_source.go).
_REFRESH_SECONDS = 60.0
# Files are looked at this often: a kubelet takes up to a minute to bring a change.
_LOOK_SECONDS = 10.0
# An exec plugin may open a browser, but nobody sits beside a controller.
_PLUGIN_SECONDS = 30.0
_LIBRARY_LOGGER = logging.getLogger("kubernetes.aio.config.kube_config")


class Access:
    """Address, TLS and credentials of one API server; made by `load_access`.

    Its files are read again when they change, and tokens every minute. What cannot be used then
    leaves what was there before; `reloads` tell of it.
    """

    def __init__(self, source: _Kubeconfig | _ServiceAccount, loaded: _Loaded) -> None:
        self._source = source
        self._files = Reload("kubernetes_access")
        self._token = Reload("kubernetes_token")
        self.reloads = self._files, self._token
        self._renewing = asyncio.Lock()
        self._looked = self._read = 0.0
        self._take(loaded)

    @property
    def url(self) -> str:
        """Scheme, host, port and path prefix, without a slash at the end."""
        return str(self._loaded.configuration.host).rstrip("/")

    @property
    def server_name(self) -> str | None:
        """The name to ask for and to find in the certificate; None for the one in the URL."""
        name: str | None = self._loaded.configuration.tls_server_name
        return name

    @property
    def proxy(self) -> str | None:
        """The URL of the HTTP proxy: the kubeconfig's, else the environment's."""
        return self._proxy

    @property
    def ssl(self) -> ssl.SSLContext | bool:
        """How to check the server, and the client certificate if there is one.

        Another object once a file of it has changed, and with it new connections.
        """
        return self._loaded.context

    async def headers(self) -> dict[str, str]:
        """The headers that say who we are, read at most a minute ago if they could be."""
        now = asyncio.get_running_loop().time()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            await self._look()
        if now - self._read >= _REFRESH_SECONDS:
            self._read = now
            await self._refresh()
        return dict(self._headers)

    async def renew(self, refused: dict[str, str]) -> None:
        """Read everything anew after a 401 to the headers `refused`.

        Of many requests that were refused at once only the first does it. AccessInvalid when it
        is impossible.
        """
        async with self._renewing:
            if await self.headers() == refused:
                self._take(await _load(self._source))

    def _take(self, loaded: _Loaded) -> None:
        self._loaded = loaded
        self._headers = _bearer(loaded.configuration)
        # Looking through the environment costs a millisecond, more than all else of a request.
        self._proxy = loaded.configuration.proxy or _environment_proxy(self.url)
        self._looked = self._read = asyncio.get_running_loop().time()

    async def _look(self) -> None:
        """Take what the files say now, if they have changed and can be used."""
        found = stamp(self._loaded.files)
        if found != self._loaded.stamp:
            self._loaded.stamp = found
            await self._reload()

    async def _reload(self) -> None:
        try:
            self._take(await _load(self._source))
        except AccessInvalid as error:
            self._files.kept(error.message)
        else:
            self._files.taken()
            self._token.unchanged()

    async def _refresh(self) -> None:
        """Take the token as it is now, if it can be had."""
        if self._files.problem:  # what is missing may be a file that was not there before
            await self._reload()
        loaded = self._loaded
        try:
            with _explained(self._source.name, self._source.remedy):
                await loaded.refresh(loaded.configuration)
                found = _bearer(loaded.configuration)
                if self._headers and not found:
                    raise ConfigException("The token is empty.")
        except AccessInvalid as error:
            if not self._files.problem:  # which has been told and may be the cause
                self._token.kept(error.message)
        else:
            self._headers = found
            self._token.unchanged()


def _bearer(configuration: Any) -> dict[str, str]:
    value = configuration.api_key.get("BearerToken")
    # A token file may end with a newline, which is refused in a header.
    return {"Authorization": value.strip()} if value else {}


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


@dataclass(slots=True)
class _Loaded:
    """What was read at one time; `files` are those it came from, `stamp` how they were then."""

    configuration: Any
    context: ssl.SSLContext | bool
    refresh: Callable[[Any], Awaitable[None]]
    files: tuple[Path, ...]
    stamp: Stamp


async def _load(source: _Kubeconfig | _ServiceAccount) -> _Loaded:
    configuration = Configuration()
    before = stamp(source.files)
    with _explained(source.name, source.remedy):
        refresh = await source.load(configuration)
        named = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
        files = tuple(Path(name) for name in named if name)
        marks = stamp(files)
        context = _ssl_context(configuration)
    return _Loaded(configuration, context, refresh, (*source.files, *files), before + marks)


class _ServiceAccount:
    """What a pod is given."""

    name = "the pod's service account"
    remedy = "Run it in a pod with automountServiceAccountToken, or give --kubeconfig."
    files = ()

    def __init__(self, directory: Path) -> None:
        self._loader: Any = InClusterConfigLoader(  # type: ignore[no-untyped-call]
            token_filename=str(directory / "token"),
            cert_filename=str(directory / "ca.crt"),
            # The library would read by the wall clock; `Access` does it by the loop's.
            try_refresh_token=False,
        )

    async def load(self, configuration: Configuration) -> Callable[[Any], Awaitable[None]]:
        """Fill in address, CA and token; how to read the token again."""
        self._loader.load_and_set(configuration)
        return self._refresh

    async def _refresh(self, configuration: Configuration) -> None:
        """The kubelet renews the token in place."""
        self._loader.load_and_set(configuration)


class _Kubeconfig:
    """A kubeconfig file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files = (path,)
        self.name = f"the kubeconfig {path}"
        self.remedy = "`kubectl --kubeconfig FILE version` must work with it."

    async def load(self, configuration: Configuration) -> Callable[[Any], Awaitable[None]]:
        """Fill in what the current context says; runs its exec plugin.

        The result reads a token file again, or asks the plugin when its credential is about to
        expire.
        """
        if not self._path.is_file():
            raise ConfigException("There is no such file.")
        async with asyncio.timeout(_PLUGIN_SECONDS):
            # persist_config would write the file back at once.
            loader = await load_kube_config(  # type: ignore[no-untyped-call]
                str(self._path), client_configuration=configuration, persist_config=False
            )

        async def refresh(configuration: Configuration) -> None:
            async with asyncio.timeout(_PLUGIN_SECONDS):
                await loader.load_and_set(configuration)

        return refresh


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


def _ssl_context(configuration: Any) -> ssl.SSLContext | bool:
    if str(configuration.host).startswith("http:"):
        return False  # without TLS the system's certificates need not be read
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
