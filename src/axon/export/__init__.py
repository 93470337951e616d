"""Metrics for Prometheus: families of numbers, written in the text formats and in protobuf."""
