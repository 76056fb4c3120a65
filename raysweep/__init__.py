"""The service: the way from a YAML file to an answer."""
