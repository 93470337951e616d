"""What a path is called: patterns, learned templates, and the kernel's tables of them."""

from axon.routes.file import read_patterns
from axon.routes.manager import NO_PATH, OTHER, RouteManager
from axon.routes.pattern import Pattern, PatternError, parse

__all__ = ["NO_PATH", "OTHER", "Pattern", "PatternError", "RouteManager", "parse", "read_patterns"]
