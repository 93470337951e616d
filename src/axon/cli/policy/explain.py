"""`axon policy explain`.

Judges one request as the kernel would. A workload and a caller are known by labels (app=frontend), or
by a service's name as `axon top` shows it (nginx.service, docker:web, python3:8080), which stands for its
unit, container, or command and port; a caller also by an address, or by both.
Without --from it is somebody of whom nothing is known. With --labels they have the labels of that file
too, an address those of its network.

  axon policy explain -f policies/ --workload app=backend --from app=frontend GET /api/users
  axon policy explain -f policies/ --workload nginx.service --from 10.0.0.7 POST /login --port 8080
"""

from __future__ import annotations

import argparse
import json

from axon.cli.parser import add_output
from axon.cli.policy import add_files, add_labels, labels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_files(parser)
    add_labels(parser)
    parser.add_argument(
        "--workload", required=True, metavar="WHO", help="who is asked: KEY=VALUE,... or a service"
    )
    parser.add_argument(
        "--from", dest="caller", default="", metavar="WHO",
        help="who asks: KEY=VALUE,..., a service or an address",
    )  # fmt: skip
    parser.add_argument("--host", metavar="NAME", help="the Host field of the request")
    parser.add_argument(
        "--port", type=int, metavar="N", help="the workload's port; default axon.dev/port, or 80"
    )
    parser.add_argument(
        "--namespace",
        default="default",
        metavar="NAME",
        help="where the workload is, if not in the namespace default",
    )
    parser.add_argument(
        "--from-namespace",
        metavar="NAME",
        help="where the caller is, if elsewhere than the workload",
    )
    add_output(parser, "text", "json")
    parser.add_argument("method", metavar="METHOD", help="the request's method")
    parser.add_argument("path", metavar="TARGET", help="its path, with or without a query")


def run(arguments: argparse.Namespace) -> int:
    """Judge it and say why."""
    from axon.policy import judge, load_policies
    from axon.policy.judging import asked

    policies = load_policies(arguments.file)
    given = labels(arguments)
    who = asked.words_of(arguments.workload)
    port = asked.port_of(who, arguments.port)
    workload = asked.workload_of(who, port, arguments.namespace, given)
    caller = asked.caller_of(
        asked.words_of(arguments.caller), arguments.from_namespace or arguments.namespace, given
    )
    request = asked.request_of(arguments.method, arguments.path, arguments.host, port)
    decision = judge(policies, workload, caller, request)
    if arguments.output == "json":
        print(json.dumps(decision.fields(), indent=2))
        return 0
    print(f"{decision.verdict}: {request}, from {caller} to {workload}")
    print(decision.why)
    mark = decision.fields()["at"]
    if mark:
        print(f"See {mark}.")
    return 0
