"""What the machine's files say: the settings of the next boot.

sysctl.d, modules-load.d and modprobe.d in systemd's order of precedence (a file in /etc hides
its namesake in /run, and that one in /usr; all are read in the order of their names; a link to
/dev/null or an empty file masks): https://www.freedesktop.org/software/systemd/man/sysctl.d.html
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from opslib.node.facts.machine import masked, parameters
from opslib.node.facts.root import Root, matches
from opslib.node.facts.storage import KIND, PASSING_MOUNTS, PLACE, PSEUDO, private, unescaped
from opslib.node.facts.sysctls import SECRET, sysctl_name

_PLACES = ("/etc/", "/run/", "/usr/local/lib/", "/usr/lib/", "/lib/")
_GLOB = re.compile(r"[*?\[]")
MOST_FILES, MOST_LINES = 1000, 100_000


class Setting(NamedTuple):
    """One saved value: ``at`` is file:line; ``may_fail`` that systemd lets it fail in silence."""

    value: str
    at: str
    may_fail: bool = False


class Saved:
    """What was found in the files; ``notes`` are sentences for a person."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.settings: dict[str, Setting] = {}
        self.notes: list[str] = []

    def all(self) -> Saved:
        """Read everything; what cannot be read is noted at the root as ``saved:...``."""
        self._sysctl()
        self._modules()
        self._modprobe()
        self._command_line()
        self._fstab()
        return self

    def _lines(self, name: str) -> list[tuple[int, str]]:
        try:
            text = self.root.read(name)
        except OSError as error:
            self.root.failed("saved:" + name, error)
            return []
        return list(enumerate(text.split("\n")[:MOST_LINES], 1))

    def _sysctl(self) -> None:
        options: dict[str, Setting] = {}
        order: dict[str, Setting | None] = {}
        for name, value in self._by_command_line():
            options[name] = Setting(value, "/proc/cmdline")
        for name in config_files(self.root, "sysctl.d"):
            for number, line in self._lines(name):
                self._assignment(order, line, f"{name}:{number}")
        self._not_read()
        effective = self._expanded(order)
        for path, setting in {**options, **effective}.items():
            name = sysctl_name(path)
            if not matches(name, SECRET):
                self.settings["sysctl/" + name] = setting

    def _by_command_line(self) -> list[tuple[str, str]]:
        """Return ``sysctl.NAME=VALUE`` of the kernel's command line: set before any file is."""
        found = parameters(self.root.text("/proc/cmdline"))
        return [(path_of(n[7:]), v) for n, v in found.items() if n.startswith("sysctl.")]

    def _assignment(self, order: dict[str, Setting | None], line: str, at: str) -> None:
        text = line.strip()
        if not text or text[0] in "#;":
            return
        name, equals, value = text.partition("=")
        name = name.strip()
        may_fail = name.startswith("-")
        if not equals and not may_fail:
            self.notes.append(f"{at} is no assignment: systemd leaves it out")
            return
        path = path_of(name[1:].lstrip() if may_fail else name)
        before = order.get(path)
        new = Setting(value.strip(), at, may_fail) if equals else None
        if path in order and before is not None and new is not None and before.value == new.value:
            order[path] = Setting(new.value, at, before.may_fail or may_fail)
            return
        order.pop(path, None)  # a later line of the same name counts at its own place
        order[path] = new

    def _expanded(self, order: dict[str, Setting | None]) -> dict[str, Setting]:
        """Return what each path below /proc/sys is set to, patterns expanded as systemd does.

        A pattern leaves alone what is named itself, with a value or, as ``-NAME``, without.
        """
        found: dict[str, Setting] = {}
        for path, setting in order.items():
            if setting is None:
                continue
            if not _GLOB.search(path):
                found.pop(path, None)
                found[path] = setting
                continue
            for one in expand(self.root, path):
                if one not in order:
                    found.pop(one, None)
                    found[one] = setting
        return found

    def _not_read(self) -> None:
        """Say that /etc/sysctl.conf has settings where systemd does not read it."""
        linked = any(
            self.root.inner(name) == "/etc/sysctl.conf"
            for name in config_files(self.root, "sysctl.d")
        )
        text = self.root.text("/etc/sysctl.conf")
        if not linked and re.search(r"^\s*[^#;\s].*=", text, re.MULTILINE):
            self.notes.append(
                "/etc/sysctl.conf has settings, and systemd does not read it: link it from"
                " /etc/sysctl.d/99-sysctl.conf"
            )

    def _modules(self) -> None:
        for name in config_files(self.root, "modules-load.d"):
            for number, line in self._lines(name):
                word = line.strip()
                if word and word[0] not in "#;":
                    self._load(word, f"{name}:{number}")
        for number, line in self._lines("/etc/modules") if self._alone("/etc/modules") else ():
            word = line.partition("#")[0].strip().partition(" ")[0]
            if word:
                self._load(word, f"/etc/modules:{number}")
        for name, value in parameters(self.root.text("/proc/cmdline")).items():
            if name in {"modules_load", "modules-load", "rd.modules_load"}:
                for word in value.replace(",", " ").split():
                    self._load(word, "/proc/cmdline")

    def _modprobe(self) -> None:
        for name in config_files(self.root, "modprobe.d"):
            for number, line in self._lines(name):
                self._options(line.partition("#")[0].split(), f"{name}:{number}")

    def _load(self, module: str, at: str) -> None:
        self.settings["module/" + module.replace("-", "_")] = Setting("loaded", at)

    def _alone(self, name: str) -> bool:
        """Tell whether a file is not read under another name already."""
        names = config_files(self.root, "modules-load.d")
        return self.root.exists(name) and all(self.root.inner(one) != name for one in names)

    def _options(self, given: list[str], at: str) -> None:
        if len(given) >= 2 and given[0] == "blacklist":
            key = "module/{}".format(given[1].replace("-", "_"))
            self.settings.setdefault(key, Setting("blacklisted", at))
        if len(given) < 3 or given[0] != "options":
            return
        for word in given[2:]:
            name, equals, value = word.partition("=")
            key = "module/{}/{}".format(given[1].replace("-", "_"), name)
            self.settings[key] = Setting(masked(name, value) if equals else "Y", at)

    def _command_line(self) -> None:
        for read in (self._grub, self._kernel_install, self._entries):
            found = read()
            if found is not None:
                at, text = found
                for name, value in parameters(text).items():
                    self.settings["cmdline/" + name] = Setting(value, at)
                return

    def _grub(self) -> tuple[str, str] | None:
        """Read what grub-mkconfig puts on the command line: /etc/default/grub, then grub.d."""
        values: dict[str, str] = {}
        at = ""
        drop = "/etc/default/grub.d"
        more = [drop + "/" + one for one in self.root.names(drop) if one.endswith(".cfg")]
        for name in ["/etc/default/grub", *more]:
            for number, line in self._lines(name):
                found = re.match(r"\s*(GRUB_CMDLINE_LINUX(?:_DEFAULT)?)=(.*)$", line)
                if found:
                    text = found.group(2).strip()
                    quote = text[:1] if text[:1] in {'"', "'"} else ""
                    text = text[1:].rpartition(quote)[0] if quote else text.split(" #")[0]
                    text = re.sub(
                        r"\$\{?(GRUB_CMDLINE_LINUX(?:_DEFAULT)?)\}?",
                        lambda one: values.get(one.group(1), ""),
                        text,
                    )
                    values[found.group(1)] = text.replace('\\"', '"')
                    at = f"{name}:{number}"
        names = ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")
        return (at, " ".join(values.get(name, "") for name in names)) if at else None

    def _kernel_install(self) -> tuple[str, str] | None:
        for name in ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline"):
            text = self.root.text(name)
            if text.strip():
                return name, " ".join(text.split())
        return None

    def _entries(self) -> tuple[str, str] | None:
        """Read the boot loader's entries where all of them say the same."""
        folder = "/boot/loader/entries"
        told = {}
        for name in self.root.names(folder):
            for number, line in self._lines(folder + "/" + name):
                if line.startswith("options "):
                    told[line[8:].strip()] = f"{folder}/{name}:{number}"
        if len(told) > 1:
            self.notes.append(f"the entries of {folder} differ: the command line to come is open")
        return next(((at, text) for text, at in told.items() if len(told) == 1), None)

    def _fstab(self) -> None:
        for number, line in self._lines("/etc/fstab"):
            fields = line.split()
            if len(fields) < 3 or fields[0].startswith("#"):
                continue
            at = f"/etc/fstab:{number}"
            options = fields[3] if len(fields) > 3 else "defaults"
            if fields[2] == "swap":
                if "noauto" not in options.split(","):
                    self.settings["swap/device:" + self._device(fields[0])] = Setting("swap", at)
            elif fields[1].startswith("/") and "noauto" not in options.split(","):
                place = unescaped(fields[1]).rstrip("/") or "/"
                if fields[2] in PSEUDO or matches(place, PASSING_MOUNTS):
                    continue
                self.settings[KIND + place] = Setting(fields[2], at)
                self.settings[PLACE + place] = Setting(private(options), at)

    def _device(self, name: str) -> str:
        """Return the device of ``UUID=...`` and its like where udev has a link for it."""
        kind, equals, value = unescaped(name).partition("=")
        link = "/dev/disk/by-{}/{}".format(kind.lower(), value.strip('"'))
        return self.root.inner(link) if equals and self.root.exists(link) else unescaped(name)


def path_of(name: str) -> str:
    """Return a sysctl's name as a path: the first separator tells dots from slashes.

    ``net.ipv4.conf.eth0/1.rp_filter`` and ``net/ipv4/conf/eth0.1/rp_filter`` are the same.
    """
    name = name.strip()
    first = re.search(r"[./]", name)
    if first and first.group() == ".":
        name = name.translate(str.maketrans("./", "/."))
    return re.sub(r"/+(\./+)*", "/", name).strip("/")


def expand(root: Root, pattern: str) -> list[str]:
    """Return the paths below /proc/sys that a pattern matches, each part by itself, sorted."""
    found = [""]
    for part in pattern.split("/"):
        after = []
        for folder in found:
            if _GLOB.search(part):
                shown = [n for n in root.names("/proc/sys/" + folder) if _fits(n, part)]
            else:
                shown = [part] if root.exists("/proc/sys/" + folder + part) else []
            after += [folder + name + "/" for name in shown]
        found = after[:10_000]
    return [path[:-1] for path in found]


def _fits(name: str, pattern: str) -> bool:
    """Tell whether a name fits a pattern as glob(7) has it: a leading dot is named itself."""
    return matches(name, (pattern.replace("[^", "[!"),)) and (pattern[0] == "." or name[0] != ".")


def config_files(root: Root, kind: str) -> list[str]:
    """Return the files of a folder like sysctl.d that count, in the order in which they do."""
    found: dict[str, str] = {}
    for place in _PLACES:
        folder = place + kind
        if place == "/lib/" and root.inner(folder) == "/usr/lib/" + kind:
            continue
        try:
            names = sorted(os.listdir(root.path(folder)))[:MOST_FILES]
        except OSError as error:
            root.failed("saved:" + folder, error)
            continue
        for name in names:
            if name.endswith(".conf") and not name.startswith("."):
                found.setdefault(name, folder + "/" + name)
    return [found[name] for name in sorted(found)]
