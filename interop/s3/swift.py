"""Runs OpenStack Swift with its S3 API (s3api) from the system's packages, in a folder of its own.

Usage: swift.py FOLDER. Prints one line of JSON when the servers answer, and ends them when standard input
ends.
"""

import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ACCESS_KEY, SECRET_KEY = "test:tester", "testing"
REGION = "eu-south-7"

SWIFT_CONF = """[swift-hash]
swift_hash_path_prefix = interop
swift_hash_path_suffix = interop
[storage-policy:0]
name = only
default = yes
"""

STORAGE_CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
log_level = WARNING
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY_CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper cache s3api tempauth bulk slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{cache_port}
[filter:s3api]
use = egg:swift#s3api
location = {region}
max_bucket_listing = 10
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def write_file(folder: str, name: str, text: str) -> str:
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def make_ring(folder: str, kind: str, port: int) -> None:
    """One device, one copy."""
    builder = os.path.join(folder, f"{kind}.builder")
    for arguments in (
        ["create", "4", "1", "0"],
        ["add", "--region", "1", "--zone", "1", "--ip", "127.0.0.1", "--port", str(port)]
        + ["--device", "disk", "--weight", "1"],
        ["rebalance"],
    ):
        subprocess.run(["swift-ring-builder", builder, *arguments], check=True, stdout=subprocess.DEVNULL)


def wait_until_answering(endpoint: str, servers: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + 180
    while True:
        if any(server.poll() is not None for server in servers):
            sys.exit("a server of Swift ended: see its output above")
        try:
            urllib.request.urlopen(endpoint, timeout=5)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                sys.exit("Swift did not answer within three minutes")
            time.sleep(0.2)


def main() -> None:
    folder = os.path.abspath(sys.argv[1])
    os.makedirs(os.path.join(folder, "devices", "disk"))
    write_file(folder, "swift.conf", SWIFT_CONF)
    kinds = ["account", "container", "object"]
    *ports, proxy_port, cache_port = free_ports(len(kinds) + 2)
    settings = {"folder": folder, "user": getpass.getuser(), "region": REGION}
    # tempauth keeps its tokens there.
    commands = [["memcached", "-l", "127.0.0.1", "-p", str(cache_port), "-u", settings["user"]]]
    for kind, port in zip(kinds, ports):
        make_ring(folder, kind, port)
        text = STORAGE_CONF.format(kind=kind, port=port, **settings)
        commands.append([f"swift-{kind}-server", write_file(folder, f"{kind}.conf", text), "--verbose"])
    text = PROXY_CONF.format(port=proxy_port, cache_port=cache_port, **settings)
    commands.append(["swift-proxy-server", write_file(folder, "proxy.conf", text), "--verbose"])

    # Asked to end, it ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    servers = []
    try:
        for command in commands:
            servers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr))
        endpoint = f"http://127.0.0.1:{proxy_port}"
        wait_until_answering(endpoint, servers)
        answer = {
            "endpoint": endpoint,
            "region": REGION,
            "accessKeyId": ACCESS_KEY,
            "secretAccessKey": SECRET_KEY,
        }
        print(json.dumps(answer), flush=True)
        sys.stdin.read()
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()


main()
