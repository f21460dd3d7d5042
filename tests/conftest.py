"""What every test may use: a real control plane for the session, and a namespace of one's own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from opslib.core import secrecy
from opslib.kube.client import Cluster, connect
from opslib.sandbox import binaries, cluster, tools
from opslib.sandbox.cluster import Status
from opslib.source.example import create_example

if TYPE_CHECKING:
    from seal.vaults import Vault

pytest_plugins = ("workers",)
# How long an example takes, or is looked for, is for the machine to say.
settings.register_profile(
    "opslib", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("opslib")
_STARTED = time.monotonic()
_SEAL = Path(__file__).resolve().parent / "seal"
_RUNS = Path(tempfile.gettempdir()) / f"opslib-tests-{os.getuid()}"


@pytest.fixture(scope="session", autouse=True)
def _own_state() -> Iterator[None]:
    """Keep the tests' state apart from the user's sandboxes, and clear what a killed run left."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell's background job ignores Ctrl-C, and so would every program that a test starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _RUNS.mkdir(mode=0o700, exist_ok=True)
    if _RUNS.stat().st_uid != os.getuid():
        pytest.exit(f"{_RUNS} belongs to somebody else")
    for left in _RUNS.iterdir():
        if not _alive(left.name):
            _clear(left)
    mine = _RUNS / str(os.getpid())
    mine.mkdir(mode=0o700, exist_ok=True)
    temporary = mine / "t"  # short: sockets lie below it
    temporary.mkdir(mode=0o700, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLIB_STATE", str(mine))
        # What killed programs leave behind goes at the end.
        patch.setenv("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tests' own folders stay
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", str(temporary))
        # multiprocessing would remove a folder of its own when this process ends: after that.
        config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        config.setdefault("tempdir", tempfile.mkdtemp(prefix="pymp-"))
        with _ended_by_sigterm():
            yield
    _clear(mine)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Forget the secrets that a test hands out: they would be masked in later tests' records."""
    known = secrecy.REGISTRY._known
    before = dict(known)
    yield
    if known != before:
        known.clear()
        known.update(before)
        secrecy.REGISTRY.version += 1


class _Lines:
    """Progress as lines of the test run."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._last = ""

    def update(self, label: str, done: float = 0, total: float | None = None) -> None:
        del done, total
        if self._reporter and label != self._last:
            self._reporter.write_line(f"{label} (after {time.monotonic() - _STARTED:.0f} s)")
        self._last = label


def pytest_collection_finish(session: pytest.Session) -> None:
    """Get the programs before the first test: a build outlasts a test's time."""
    if session.config.option.collectonly:
        return
    if any("sandbox" in getattr(item, "fixturenames", ()) for item in session.items):
        _control_plane(session.config)
    if any(item.path.is_relative_to(_SEAL) for item in session.items):
        _sealed_secrets(session.config)
    if any("real_vault" in getattr(item, "fixturenames", ()) for item in session.items):
        binaries.vault(_Lines(session.config))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Get them where a person sees it, before two processes look for them."""
    folders = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    _control_plane(config)
    if any(_SEAL.is_relative_to(one) or one.is_relative_to(_SEAL) for one in folders):
        _sealed_secrets(config)
        binaries.vault(_Lines(config))


def _control_plane(config: pytest.Config) -> None:
    binaries.resolve(_Lines(config))
    binaries.own_kubectl(_Lines(config))


def _sealed_secrets(config: pytest.Config) -> None:
    from seal import parts

    lines = _Lines(config)
    binaries.programs([tools.KUBESEAL, tools.SEALED_SECRETS_CONTROLLER], lines)
    for version in parts.OLDER:
        lines.update(f"kubeseal {version}, which is built where it is not in the cache")
        parts.kubeseal(version)
    parts.controller(parts.OLDER[0])


@pytest.fixture(scope="session")
def sandbox(_own_state: None) -> Iterator[Status]:
    """Bring up one control plane with three nodes for the whole session.

    Tests share it: use the ``namespace`` fixture, and leave cluster-wide objects as they were.
    """
    name = f"test-{uuid.uuid4().hex[:8]}"
    try:
        yield cluster.up(name)
    finally:
        cluster.down(name)


@pytest.fixture
def namespace(sandbox: Status) -> Iterator[str]:
    """Create a namespace of a unique name; it is deleted afterwards, nobody waits for that."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    cluster.make_namespace(sandbox.name, name, timeout=120)
    yield name
    with cluster.api(sandbox.name) as api:
        api.send("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def server(sandbox: Status) -> Iterator[Cluster]:
    """Connect to the session's control plane, as its administrator."""
    one = connect(cluster.environment(sandbox.name)["KUBECONFIG"])
    yield one
    one.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start the system's Chromium, once: a second Playwright in one process is refused by it."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "the browser tests need Chromium: apt-get install chromium"
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def real_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """Run one real Vault for the session, unsealed; a test that seals it opens it again."""
    from seal import vaults

    with vaults.running(tmp_path_factory.mktemp("vault")) as one:
        yield one


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """Return the payment platform as a repository of the test's own."""
    repo = tmp_path / "payment-platform"
    create_example(repo)
    return repo


@pytest.fixture
def place(platform: Path, server: Cluster, namespace: str) -> Iterator[str]:
    """Give the example a namespace of the test's own, and return its name; deleted afterwards."""
    name = f"{namespace}-app"
    for path in platform.glob("*/*.yaml"):
        path.write_text(path.read_text().replace("production", name))
    words = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "commit", "-qam", "moved"]
    subprocess.run(["git", "-C", str(platform), *words], check=True, timeout=60)
    yield name
    server.request("DELETE", f"/api/v1/namespaces/{name}")


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _clear(state: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPSLIB_STATE", str(state))
        for name in cluster.names():
            with contextlib.suppress(Exception):
                cluster.down(name)
    shutil.rmtree(state, ignore_errors=True)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does, with the fixtures' clearing up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # Not by SystemExit, which would be the failure of one test, and the next one begins.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Close with one line that counts the tests; a skipped one is counted, never silent."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.config.option.collectonly:
        return
    counts = [("passed", "passed"), ("failed", "failed"), ("skipped", "skipped")]
    for key, name in (("error", "errors"), ("deselected", "deselected"), ("xfailed", "xfailed")):
        counts += [(key, name)] if reporter.stats.get(key) else []
    text = ", ".join(f"{len(reporter.stats.get(key, ()))} {name}" for key, name in counts)
    reporter.write_line(f"opslib tests: {text}, in {time.monotonic() - _STARTED:.0f} s")
