"""A client of the API, for the command line: synchronous, typed, and clear about what is wrong."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlencode

import msgspec

from axon.api import policy, schema
from axon.api.endpoints import BASE
from axon.api.filters import FlowFilter, to_query
from axon.errors import AbsentError, ApiError

T = TypeVar("T")

_EVERYTHING = FlowFilter()
_TIMEOUT = 10.0


class Client:
    """Talks to the agent behind a Unix socket. Every method raises ApiError when it cannot.

    `timeout` is how many seconds an answer may take.
    """

    def __init__(self, path: Path, *, timeout: float = _TIMEOUT) -> None:
        self._path = path
        self._timeout = timeout

    def snapshot(self) -> schema.Snapshot:
        """Return the endpoints of this host as of the last second."""
        return self._get("/snapshot", schema.Snapshot)

    def status(self) -> schema.Status:
        """Return the state of the agent and its programs."""
        return self._get("/status", schema.Status)

    def config(self) -> schema.Config:
        """Return the settings in force."""
        return self._get("/config", schema.Config)

    def policies(self) -> policy.Policies:
        """Return the policies in force."""
        return self._get("/policies", policy.Policies)

    def look(self) -> policy.Policies:
        """Have the agent take up what has changed in the policies' files; return those in force."""
        return self._decode(self._ask("POST", f"{BASE}/policies/look"), policy.Policies)

    def traffic(self) -> policy.Traffic:
        """Return what was asked on this host in the last hours."""
        return self._get("/traffic", policy.Traffic)

    def health(self) -> schema.Health:
        """Return whether the agent does what it should; an agent that does not is no error here."""
        return self._decode(self._ask("GET", "/healthz", accept=(200, 503)), schema.Health)

    def recent(self, wanted: FlowFilter = _EVERYTHING, *, last: int = 20) -> list[schema.Flow]:
        """Return the newest flows held in memory that pass the filter, oldest first."""
        query = urlencode([*to_query(wanted), ("last", last)])
        return self._get(f"/flows/recent?{query}", schema.Recent).flows

    def follow(
        self,
        wanted: FlowFilter = _EVERYTHING,
        *,
        last: int = 0,
        limit: int = 0,
        rate: float = 1000.0,
    ) -> Flows:
        """Open a stream of flows; see the parameters of /api/v1/flows."""
        options = [("last", last), ("limit", limit), ("rate", f"{rate:g}")]
        query = urlencode([*to_query(wanted), *options])
        connection = _Connection(self._path, self._timeout)
        try:
            response = self._open(connection, "GET", f"{BASE}/flows?{query}")
            begin = self._decode(self._line(response), schema.Begin)
            # A quiet host is no dead agent: lines may be far apart.
            connection.sock.settimeout(None)
            return Flows(self, begin.id, connection, response)
        except BaseException:
            connection.close()
            raise

    def finish(self, stream: int) -> schema.Finish:
        """End a stream by its id."""
        return self._decode(self._ask("DELETE", f"{BASE}/flows/{stream}"), schema.Finish)

    def _get(self, path: str, answer: type[T]) -> T:
        return self._decode(self._ask("GET", BASE + path), answer)

    def _ask(self, method: str, path: str, accept: tuple[int, ...] = (200,)) -> bytes:
        connection = _Connection(self._path, self._timeout)
        try:
            return self._read(self._open(connection, method, path, accept))
        finally:
            connection.close()

    def _open(
        self, connection: _Connection, method: str, path: str, accept: tuple[int, ...] = (200,)
    ) -> http.client.HTTPResponse:
        try:
            connection.request(method, path, headers={"Host": "localhost"})
            response = connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise AbsentError(
                f"No agent is running on {self._path}; start it with `axon run`, or set run_dir "
                "to that of the agent which is."
            ) from error
        except PermissionError as error:
            raise ApiError(self._denied()) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(self._silent(error)) from error
        if response.status not in accept:
            raise self._refusal(response.status, self._read(response))
        return response

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(self._silent(error)) from error

    def _line(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.readline()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(self._silent(error)) from error

    def _decode(self, body: bytes, answer: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError(
                f"The agent on {self._path} answers in a form that this axon does not know "
                f"({error}). They are of different versions: restart the agent."
            ) from error

    def _refusal(self, status: int, body: bytes) -> ApiError:
        try:
            message = msgspec.json.decode(body, type=schema.Problem).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            message = f"It answered {status}; something else than an agent listens there."
        return ApiError(f"The agent on {self._path} refused: {message}")

    def _silent(self, error: Exception) -> str:
        reason = "it took too long" if isinstance(error, TimeoutError) else str(error)
        return f"The agent on {self._path} did not answer ({reason}); its log may say why."

    def _denied(self) -> str:
        who = "root" if os.geteuid() else "the socket's owner"
        return f"{self._path} may only be used by {who}; try again with sudo."


class Flows:
    """An open stream of flows. Iterate over it; `finish` has the last line's counts.

    `id` is the agent's number for it.
    """

    def __init__(
        self,
        client: Client,
        number: int,
        connection: _Connection,
        response: http.client.HTTPResponse,
    ) -> None:
        self.id = number
        self._client = client
        self._connection = connection
        self._response = response
        self._finish: schema.Finish | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._connection.close()

    def __iter__(self) -> Iterator[schema.Flow]:
        """Yield flows until the stream ends."""
        decode = msgspec.json.Decoder(schema.Flow | schema.Finish).decode
        while True:
            try:
                text = self._response.readline()
                line = decode(text) if text else None
            except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
                raise ApiError(f"The agent ended the stream in the middle: {error}") from error
            if isinstance(line, schema.Flow):
                yield line
            elif line is None:
                raise ApiError("The agent ended; start it again with `axon run`.")
            else:
                self._finish = line
                return

    def finish(self) -> schema.Finish | None:
        """End the stream, unless it has; return how many flows matched and how many were shown.

        None where the agent has not said, because it is gone.
        """
        if self._finish is None:
            try:
                self._finish = self._client.finish(self.id)
            except ApiError:
                return None
        return self._finish


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
