"""The product in a pod on real kubelets: `make e2e`, as root.

__main__ prepares on this machine, then tells the story (story.py) in namespaces of its own.
"""
