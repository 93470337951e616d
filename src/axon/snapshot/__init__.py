"""Maps to arrays once a second: totals, rates and percentiles; silent series retired."""

from axon.snapshot.collector import Collector
from axon.snapshot.group import Grouping
from axon.snapshot.model import Snapshot
from axon.snapshot.quantile import quantiles
from axon.snapshot.window import Stats, Window

__all__ = ["Collector", "Grouping", "Snapshot", "Stats", "Window", "quantiles"]
