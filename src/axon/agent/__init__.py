"""The agent: one process that looks once a second, learns names, and answers everyone who asks."""

from axon.agent.agent import Agent

__all__ = ["Agent"]
