# build makes the environment, run is the product, simulator is the product as its own demo.
# `make image` builds run and simulator. BASE is any image of Debian 12 with Python 3.11 or newer.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
# The oVirt SDK comes as source: it needs a compiler and the headers of libxml2 and Python.
# Debian keeps one version of a package: the base decides which, and an older pin could not be had.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libxml2-dev \
    && { python3 -c 'import ensurepip, os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' \
    2>/dev/null || apt-get install --yes --no-install-recommends python3-dev python3-venv; } \
    && rm -rf /var/lib/apt/lists/*
# Whom this base trusts, not whom pip brings along: networks may have an authority of their own.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY .ci/build.lock requirements.lock ./
# Also what builds is locked: pip would fetch the newest of it into an isolation of its own.
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement build.lock \
    && /opt/build/bin/pip wheel --no-deps --require-hashes --no-build-isolation --use-pep517 \
    --wheel-dir /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY provider provider
# This environment has never had a pip.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python3 -m venv --without-pip /opt/ovirt-ccm \
    && /opt/build/bin/pip --python /opt/ovirt-ccm/bin/python install --no-cache-dir --no-index \
    --no-deps /wheels/*.whl \
    && rm /opt/ovirt-ccm/bin/*ctivate*

FROM ${BASE} AS system
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libxml2 \
    && rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/* /root/.cache /root/.*_history \
    /usr/local/bin/pip* /usr/local/bin/wheel /usr/local/bin/idle* /usr/local/include \
    /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/idlelib \
    /usr/local/lib/python3*/site-packages/* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/ovirt-ccm /opt/ovirt-ccm

FROM system AS contents
COPY .ci/sbom.py /sbom.py
RUN /opt/ovirt-ccm/bin/python /sbom.py >/sbom.cdx.json

FROM system AS run
COPY --from=contents /sbom.cdx.json /usr/share/ovirt-ccm/sbom.cdx.json
ENV PATH=/opt/ovirt-ccm/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 10258
ENTRYPOINT ["ovirt-ccm"]
CMD ["run"]
# Of what this very image is made; `make image` knows it.
ARG VERSION=
ARG REVISION=
ARG BASE_NAME=
ARG BASE_DIGEST=
LABEL org.opencontainers.image.title="cloud-provider-ovirt" \
    org.opencontainers.image.description="Kubernetes cloud controller for oVirt" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${BASE_NAME}" \
    org.opencontainers.image.base.digest="${BASE_DIGEST}"

FROM run AS simulator
LABEL org.opencontainers.image.title="cloud-provider-ovirt, simulated"
CMD ["demo"]

FROM run
