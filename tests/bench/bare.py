"""The least that a first apply in Python can cost: the same objects as bare PATCHes from threads.

``python -m tests.bench.bare KUBECONFIG REQUESTS WORKERS`` sends each line of REQUESTS (a path, a
tab, JSON) as server-side apply, on one connection for each thread; nothing is planned, checked or
waited for. http.client alone, as anything above it costs more.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import ssl
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import yaml

_QUERY = "?fieldManager=bare&force=true&fieldValidation=Strict"
_HEADERS = {"Content-Type": "application/apply-patch+yaml", "Accept": "application/json"}


def _tls(config: dict[str, list[dict[str, dict[str, str]]]]) -> ssl.SSLContext:
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.TemporaryDirectory() as place:
        names = []
        for name in ("client-certificate-data", "client-key-data"):
            path = Path(place) / name
            path.write_bytes(base64.b64decode(user[name]))
            names.append(str(path))
        context.load_cert_chain(*names)
    return context


def main(kubeconfig: str, file: str, workers: int) -> None:
    """Send all, and end with 1 where one was refused."""
    with Path(kubeconfig).open("rb") as stream:
        config = yaml.load(stream, yaml.CSafeLoader)
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    context = _tls(config)
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    todo, lock, wrong = itertools.count(), threading.Lock(), []

    def send() -> None:
        connection = http.client.HTTPSConnection(
            server.hostname or "", server.port, context=context, timeout=60
        )
        while True:
            with lock:
                number = next(todo)
            if number >= len(lines):
                break
            path, _, body = lines[number].partition("\t")
            connection.request("PATCH", path + _QUERY, body.encode(), _HEADERS)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                wrong.append(text)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        sys.exit(f"{len(wrong)} were refused: {wrong[0][:300]!r}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
