"""The agent: one process that looks once a second, learns names, and answers everyone who asks."""

from axon.agent.agent import Agent
from axon.agent.run import run

__all__ = ["Agent", "run"]
