"""The programs of the control plane: versions, where they are published, how they are built.

The versions are those of the pinned go.mod files under ``gobuild/``. Release layouts:
https://kubernetes.io/releases/download/ , https://github.com/etcd-io/etcd/releases ,
https://github.com/kubernetes-sigs/kwok/releases and https://releases.hashicorp.com/vault/ .
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from opslib.core.settings import cache_dir, machine

KUBERNETES = "v1.37.2"
ETCD = "v3.7.3"
KWOK = "v0.8.0"
SEALED_SECRETS = "v0.40.0"
VAULT = "v1.15.0"

VERSIONS = {
    "kubernetes": KUBERNETES,
    "etcd": ETCD,
    "kwok": KWOK,
    "sealed-secrets": SEALED_SECRETS,
    "vault": VAULT,
}

_MIRRORS = {
    "kubernetes": "https://dl.k8s.io/release",
    "etcd": "https://github.com/etcd-io/etcd/releases/download",
    "kwok": "https://github.com/kubernetes-sigs/kwok/releases/download",
    "vault": "https://releases.hashicorp.com/vault",
}
_MAJOR, _MINOR = KUBERNETES.removeprefix("v").split(".")[:2]
_STAMP = "k8s.io/component-base/version"
_LDFLAGS = {
    # Without these the API server calls itself v0.0.0-master and clients refuse it.
    "kubernetes": (
        f"-X {_STAMP}.gitVersion={KUBERNETES} -X {_STAMP}.gitMajor={_MAJOR}"
        f" -X {_STAMP}.gitMinor={_MINOR}"
    ),
    "etcd": "",
    "kwok": f"-X sigs.k8s.io/kwok/pkg/consts.Version={KWOK}",
    "sealed-secrets": f"-X main.VERSION={SEALED_SECRETS}",
    "vault": "",
}


@dataclass(frozen=True)
class Tool:
    """One program: its name, the component that it belongs to, and its Go package."""

    name: str
    component: str
    package: str
    published_on: tuple[str, ...] = ("linux",)

    @property
    def version(self) -> str:
        return VERSIONS[self.component]

    @property
    def variable(self) -> str:
        """The environment variable that names the program explicitly."""
        return "OPSLIB_" + self.name.upper().replace("-", "_")

    @property
    def ldflags(self) -> str:
        return f"-s -w {_LDFLAGS[self.component]}".strip()

    def cached(self) -> Path:
        """Return where the program is kept: one folder per component, version and platform."""
        system, arch = machine()
        folder = f"{self.component}-{self.version}-{system}-{arch}"
        return cache_dir() / "bin" / folder / self.name


@dataclass(frozen=True)
class Artefact:
    """One file of an official release: its path under the mirror and what to take out of it."""

    component: str
    path: str
    member: str = ""
    checksums: str = ""

    @property
    def url(self) -> str:
        return f"{mirror(self.component)}/{self.path}"

    @property
    def checksums_url(self) -> str:
        """The checksum file published beside it; "" where the project publishes none."""
        return f"{mirror(self.component)}/{self.checksums}" if self.checksums else ""


def mirror(component: str) -> str:
    """Return the base URL: OPSLIB_MIRROR_KUBERNETES (_ETCD, _KWOK, _VAULT), else the project's."""
    explicit = os.environ.get(f"OPSLIB_MIRROR_{component.upper()}")
    return (explicit or _MIRRORS[component]).rstrip("/")


def artefact(tool: Tool) -> Artefact | None:
    """Return what to download for this machine; None where the project publishes nothing for it."""
    system, arch = machine()
    if system not in tool.published_on or arch not in {"amd64", "arm64"}:
        return None
    version = tool.version
    if tool.component == "kubernetes":
        path = f"{version}/bin/{system}/{arch}/{tool.name}"
        return Artefact("kubernetes", path, checksums=f"{path}.sha256")
    if tool.component == "etcd":
        stem = f"etcd-{version}-{system}-{arch}"
        return Artefact("etcd", f"{version}/{stem}.tar.gz", f"{stem}/etcd", f"{version}/SHA256SUMS")
    if tool.component == "vault":
        number = version.removeprefix("v")
        stem = f"{number}/vault_{number}"
        return Artefact("vault", f"{stem}_{system}_{arch}.zip", "vault", f"{stem}_SHA256SUMS")
    return Artefact("kwok", f"{version}/{tool.name}-{system}-{arch}")


def _kubernetes(name: str, *systems: str) -> Tool:
    return Tool(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", systems or ("linux",))


ETCD_SERVER = Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3")
KUBE_APISERVER = _kubernetes("kube-apiserver")
KUBE_CONTROLLER_MANAGER = _kubernetes("kube-controller-manager")
KUBE_SCHEDULER = _kubernetes("kube-scheduler")
KUBECTL = _kubernetes("kubectl", "linux", "darwin")
KWOK_CONTROLLER = Tool("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", ("linux", "darwin"))
KWOKCTL = Tool("kwokctl", "kwok", "sigs.k8s.io/kwok/cmd/kwokctl", ("linux", "darwin"))
# For interoperation, in tests: built from source only.
KUBESEAL = Tool("kubeseal", "sealed-secrets", "github.com/bitnami/sealed-secrets/cmd/kubeseal", ())
SEALED_SECRETS_CONTROLLER = Tool(
    "controller", "sealed-secrets", "github.com/bitnami/sealed-secrets/cmd/controller", ()
)
VAULT_SERVER = Tool("vault", "vault", "github.com/hashicorp/vault", ("linux", "darwin"))

CONTROL_PLANE = (
    ETCD_SERVER,
    KUBE_APISERVER,
    KUBE_CONTROLLER_MANAGER,
    KUBE_SCHEDULER,
    KWOK_CONTROLLER,
    KWOKCTL,
)
