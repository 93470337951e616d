"""The rules that are measured, as each of those who judge by them is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

PATH = "/api/users/0123456789/orders/0123456789/items/0123456789abcd"
"""What is asked, 60 bytes; the last rule allows it."""

DENIED = "/denied"
_AN_ENTRY = 250
_TYPE = "type.googleapis.com/envoy.extensions.filters"


def paths(rules: int) -> list[str]:
    """Return the paths that so many rules allow, each for GET: the last are exact, those before a pattern each."""
    exact = ["/", "/count", PATH][-rules:]
    return [f"/service-{i}/items/{{id}}" for i in range(rules - len(exact))] + exact


def policy(port: int, rules: int) -> str:
    """Return a policy of so many rules for who listens on a port."""
    lines = [
        "apiVersion: axon.dev/v1alpha1",
        "kind: L7NetworkPolicy",
        f"metadata: {{name: bench-{port}}}",
        "spec:",
        f'  podSelector: {{matchLabels: {{axon.dev/port: "{port}"}}}}',
        "  ingress:",
    ]
    all_ = paths(rules)
    for first in range(0, len(all_), _AN_ENTRY):
        lines.append("    - httpRules:")
        lines += [
            f'        - {{method: GET, path: "{p}"}}' for p in all_[first : first + _AN_ENTRY]
        ]
    return "\n".join(lines)


def _split(rules: int) -> tuple[list[str], list[str]]:
    """Return the exact paths, and regular expressions of the others."""
    all_ = paths(rules)
    return (
        [p for p in all_ if "{" not in p],
        ["^" + re.sub(r"\{\w+\}", "[^/]+", p) + "$" for p in all_ if "{" in p],
    )


def nginx(port: int, upstream: int, rules: int, home: str) -> str:
    """Return nginx's configuration: a `map` of method and path, and a proxy."""
    exact, patterns = _split(rules)
    entries = [f'    "GET {p}" 1;' for p in exact] + [f'    "~^GET {p[1:]}" 1;' for p in patterns]
    return "\n".join(
        [
            f"daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;",
            "events { worker_connections 10000; }",
            "http {",
            "  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;",
            *[
                f"  {what}_temp_path {home}/t;"
                for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            ],
            '  map_hash_bucket_size 256; map "$request_method $uri" $allowed {',
            "    default 0;",
            *entries,
            "  }",
            f"  upstream server {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}",
            "  server {",
            f"    listen {port} backlog=65535 reuseport;",
            "    location / {",
            "      if ($allowed = 0) { return 403; }",
            "      proxy_pass http://server; proxy_http_version 1.1;",
            '      proxy_set_header Host $host; proxy_set_header Connection "";',
            "    }",
            "  }",
            "}",
        ]
    )


def haproxy(port: int, upstream: int, rules: int, home: str) -> Mapping[str, str]:
    """Return HAProxy's files by name: `haproxy.cfg`, and the lists that its access lists read."""
    exact, patterns = _split(rules)
    return {
        "haproxy.cfg": "\n".join(
            [
                "global",
                "  nbthread 1",
                "defaults",
                "  mode http",
                "  timeout connect 5s",
                "  timeout client 600s",
                "  timeout server 600s",
                "  http-reuse always",
                "frontend judged",
                f"  bind :{port} backlog 65535",
                "  acl reads method GET",
                f"  acl listed path -f {home}/exact",
                f"  acl listed path_reg -f {home}/patterns",
                "  http-request deny deny_status 403 unless reads listed",
                "  default_backend server",
                "backend server",
                f"  server server 127.0.0.1:{upstream}",
                "",
            ]
        ),
        "exact": "\n".join(exact) + "\n",
        "patterns": "\n".join(patterns) + "\n",
    }


def envoy(port: int, upstream: int, rules: int) -> str:
    """Return Envoy's configuration: role-based access control (RBAC) in front of a router."""
    exact, patterns = _split(rules)
    matchers = [{"exact": p} for p in exact] + [{"safe_regex": {"regex": p}} for p in patterns]
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "judged",
        "http_filters": [
            {"name": "rbac", "typed_config": {"@type": f"{_TYPE}.http.rbac.v3.RBAC", "rules": _rbac(matchers)}},
            {"name": "router", "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"}},
        ],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"],
                 "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "server"}}]},
            ],
        },
    }  # fmt: skip
    listener = {
        "address": _address("0.0.0.0", port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    server = {
        "name": "server",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "server",
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address("127.0.0.1", upstream)}}]}
            ],
        },
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [server]}})


def _rbac(matchers: Sequence[object]) -> Mapping[str, object]:
    method = {"header": {"name": ":method", "string_match": {"exact": "GET"}}}
    return {
        "action": "ALLOW",
        "policies": {
            f"rule-{i:03}": {
                "permissions": [
                    {"and_rules": {"rules": [method, {"url_path": {"path": matcher}}]}}
                ],
                "principals": [{"any": True}],
            }
            for i, matcher in enumerate(matchers)
        },
    }


def _address(address: str, port: int) -> Mapping[str, object]:
    return {"socket_address": {"address": address, "port_value": port}}
