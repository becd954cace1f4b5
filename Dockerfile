# build makes the environment, run is the product, simulator is the product as its own demo.
#   docker build --target run -t ovirt-ccm .
ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS build
# The oVirt SDK comes as source: it needs a compiler and the headers of libxml2.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libxml2-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements.lock ./
RUN python3 -m venv /opt/ovirt-ccm \
    && /opt/ovirt-ccm/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY provider provider
RUN /opt/ovirt-ccm/bin/pip install --no-cache-dir --no-deps . \
    && /opt/ovirt-ccm/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON} AS run
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libxml2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/ovirt-ccm /opt/ovirt-ccm
ENV PATH=/opt/ovirt-ccm/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["ovirt-ccm"]
CMD ["run"]

FROM run AS simulator
CMD ["demo"]

FROM run
