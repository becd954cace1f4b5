"""What the scenarios share: the real control plane's programs."""

from tests.kube.conftest import kube_assets

__all__ = ["kube_assets"]
