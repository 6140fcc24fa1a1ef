"""The image and the services of `compose.yaml` in a container engine, without a registry of images."""
