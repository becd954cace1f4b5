"""Kubernetes cloud provider for oVirt."""
