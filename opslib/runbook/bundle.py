"""A record as one file that needs nothing of ours: a zip or tar with its verifier, or a PDF."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from opslib.core import scratch
from opslib.core.errors import InputError, OpslibError
from opslib.core.files import write_atomic
from opslib.core.proc import run
from opslib.runbook import verify
from opslib.runbook.folder import HTML

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PDF_SECONDS = 120.0
_MOMENT = (1980, 1, 1, 0, 0, 0)
"""The same bytes for the same record: the oldest time that a zip can hold."""

README = """\
The record of one run of a runbook
==================================

run      {run_id}
head     {head}
state    {state}

The folder {name}/ holds the record:

  record.html     open it in any browser; it needs no network and asks for none
  record.ipynb    the executed notebook, for Jupyter
  result.json     outcome, exit code, parameters, what was reported
  events.jsonl    what happened, line by line; each line holds the hash of the one before
  manifest.json   every file with its SHA-256 and size; its "head" names this record

Is it as it was written? With Python 3.11 or later, and nothing else:

  python -I verify.py {name}

Exit code 0: intact. 1: changed; what was changed is named. 2: no record.

Who signed it, if manifest.json.sig or manifest.json.asc is there (the public key has to come
from the signer, not from this bundle; allowed_signers: "NAME ssh-ed25519 AAAA..."):

  ssh-keygen -Y verify -f allowed_signers -I NAME -n opslib-record \\
      -s {name}/manifest.json.sig < {name}/manifest.json
  gpg --verify {name}/manifest.json.asc {name}/manifest.json

When it was there, if manifest.json.tsr is there (authority.pem: the time server's certificates):

  openssl ts -verify -data {name}/manifest.json -in {name}/manifest.json.tsr -CAfile authority.pem

{not_proven}
"""


def bundle(folder: Path, to: Path) -> Path:
    """Write the record as ``to`` (.zip or .tar.gz); the same record gives the same bytes.

    Raises InputError for another kind of file, for what cannot be taken along (links, pipes),
    and for a file that is there already.
    """
    kind = next((one for one in (".zip", ".tar.gz", ".tgz") if to.name.endswith(one)), None)
    if kind is None:
        raise InputError("this is no kind of bundle", where=str(to), expected=".zip or .tar.gz")
    _free(to)
    files = _files(folder)
    write_atomic(to, _zip(files) if kind == ".zip" else _tar(files))
    return to


def _free(path: Path) -> None:
    if path.exists():
        raise InputError("this file is there already", where=str(path), hint="name another one")
    if not path.absolute().parent.is_dir():
        raise InputError("the folder for it is not there", where=str(path))


def _files(folder: Path) -> Mapping[str, bytes]:
    found = verify.Folder(str(folder))
    if found.odd:
        odd = found.odd[0]
        raise InputError(
            "the record holds what cannot be taken along",
            where=str(folder / odd.file),
            expected="plain files",
            hint=f"{odd.what}; opslib records verify",
        )
    verdict = verify.verify(folder)
    words = {"name": folder.name, "run_id": verdict.run_id, "head": verdict.head or "none"}
    state = f"{verdict.state}, when it was exported"
    text = README.format(**words, state=state, not_proven=verify.NOT_PROVEN)
    files = {
        "README.txt": text.encode("utf-8", "backslashreplace"),
        "verify.py": Path(verify.__file__).read_bytes(),
    }
    for name in sorted(found.sizes):
        with found.open(name) as stream:
            files[f"{folder.name}/{name}"] = stream.read()
    return files


def _zip(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, _MOMENT)
            info.external_attr, info.create_system = 0o100644 << 16, 3
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return stream.getvalue()


def _tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def to_pdf(folder: Path, to: Path) -> Path:
    """Print record.html to a PDF by the Chromium on PATH, which reaches no network.

    Raises InputError where there is none, and OpslibError when it prints nothing.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise InputError(
            "Chromium is needed to make a PDF and is not on PATH",
            where="PATH",
            expected=f"one of {', '.join(BROWSERS)}",
            hint="install chromium, or open record.html and print it",
        )
    page = folder / HTML
    if not page.is_file():
        raise InputError("the record has no page to print", where=str(page))
    _free(to)
    with scratch.folder("pdf-") as place:
        made = place / "record.pdf"
        words = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer"]
        # The sandbox needs a user of its own; root has none (as in many containers).
        words += ["--no-sandbox"] if os.geteuid() == 0 else []
        words += ["--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync"]
        words += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000"]
        words += [f"--user-data-dir={place}/profile", f"--print-to-pdf={made}"]
        done = run([*words, page.resolve().as_uri()], timeout=PDF_SECONDS, check=False)
        if not made.is_file():
            raise OpslibError(f"Chromium printed nothing: {done.last_error_line}", where=str(page))
        write_atomic(to, made.read_bytes())
    return to
