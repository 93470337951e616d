"""The shop's edge: nginx in front of the frontend, with two static files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

from demo.ports import Ports

_CONFIG = """
daemon off;
worker_processes 1;
pid {scratch}/nginx.pid;
error_log {scratch}/nginx-error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    types {{ text/javascript js; text/css css; }}
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    upstream frontend {{ server 127.0.0.1:{ports.frontend}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{ports.edge};
        location /assets/ {{ root {scratch}; }}
        location / {{
            proxy_pass http://frontend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """The path of nginx, or None where it is not installed."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def run_nginx(ports: Ports, scratch: Path) -> NoReturn:
    """Become nginx: everything it writes goes below `scratch`."""
    assets = scratch / "assets"
    assets.mkdir()
    (assets / "shop.js").write_text("// nothing moves\n" * 500)
    (assets / "shop.css").write_text("body { margin: 0 }\n" * 100)
    config = scratch / "nginx.conf"
    config.write_text(_CONFIG.format(scratch=scratch, ports=ports))
    nginx = find_nginx() or "nginx"
    os.execv(
        nginx, [nginx, "-c", str(config), "-p", str(scratch), "-e", f"{scratch}/nginx-error.log"]
    )
